/**
 * The blobs of a node whose cluster is lost: those on its disk, and those in its copy of the object store.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { isStoreError } from "../../../src/core/errors.ts";
import { counted } from "../../../src/core/text/counted.ts";
import { type Salvage, salvageBlobs } from "../../../src/blobs/objects/salvage.ts";
import { lookAt } from "../../cluster/directory.ts";
import { openOnDisk } from "../../serve/storage/storage.ts";
import type { Settings } from "../../settings/settings.ts";

/** What becomes of the blobs. */
export interface LostBlobs {
  /** Number of blobs that are on the disk in the end. */
  kept: number;
  /** How many of them come from the copy of the object store; `null` if there is no copy. */
  copied: number | null;
  /** Ids of blobs of which no whole copy is on this machine. */
  lost: string[];
  /** Number of blobs on the disk that were deleted in the cluster, and are there again. */
  undeleted: number;
}

/**
 * Copies the blobs of this node's copy of the object store to its disk. Can be called again after a kill.
 *
 * @param settings The node's settings
 * @param streams The directory of its streams, whose server does not run
 * @param options With `dryRun` nothing is copied
 */
export async function bringBlobs(
  settings: Settings,
  streams: string,
  { dryRun, signal }: { dryRun: boolean; signal: AbortSignal },
): Promise<LostBlobs> {
  const found = await salvage(streams, `${settings.bucket ?? "UNIBUS"}_BLOBS`);
  const report: LostBlobs = { kept: 0, copied: found && 0, lost: [], undeleted: 0 };
  const isThere = existsSync(settings.storeDir);
  const disk = dryRun && !isThere ? null : await openOnDisk(settings);
  try {
    for await (const _ of disk?.list() ?? []) report.kept++;
    for (const id of found?.deleted ?? []) {
      if (await disk?.stat(id)) report.undeleted++;
    }
    for (const { id, size, holders, isWhole, read } of found?.blobs ?? []) {
      if (await disk?.stat(id)) {
        if (!dryRun) await disk!.addHolders(id, holders);
        continue;
      }
      const options = { maxBytes: size, expected: id, holders, signal };
      const isCopied = isWhole && (dryRun || await isPut(disk!.put(read(), options)));
      if (isCopied) {
        report.copied!++;
        report.kept++;
      } else report.lost.push(id);
    }
  } finally {
    await disk?.close();
  }
  return report;
}

async function salvage(streams: string, bucket: string): Promise<Salvage | null> {
  const name = `OBJ_${bucket}`;
  const place = (await lookAt(streams)).streams.find(({ stream }) => stream === name);
  if (place === undefined) return null;
  const directory = join(streams, "jetstream", place.account, "streams", name);
  return await salvageBlobs(directory, bucket);
}

/** Returns whether a blob was stored; not if its bytes are others than those that its name says. */
async function isPut(putting: Promise<unknown>): Promise<boolean> {
  try {
    await putting;
    return true;
  } catch (error) {
    if (isStoreError(error, "invalid")) return false;
    throw error;
  }
}

/** Describes it for people. */
export function blobLines({ kept, copied, lost, undeleted }: LostBlobs, dryRun: boolean): string[] {
  const would = dryRun ? "would be " : "";
  const shown = lost.length > 5 ? [...lost.slice(0, 5), "..."] : lost;
  return [
    copied === null
      ? `blobs: ${kept} on the disk; no copy of the object store is on this machine, so blobs that ` +
        "were stored since it grew are lost, unless an earlier run has copied them"
      : `blobs: ${kept} ${would}on the disk, ${copied} of them ${would}copied from this node's copy ` +
        "of the object store; blobs that it had not received are lost",
    ...lost.length === 0 ? [] : [
      `lost, because that copy does not have all of them: ${counted(lost.length, "blob")} (${
        shown.join(", ")
      })`,
    ],
    ...undeleted === 0 ? [] : [`blobs that were deleted in the cluster and are back: ${undeleted}`],
  ];
}
