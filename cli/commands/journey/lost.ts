/**
 * `shrink --force`: the second copy becomes the store's file when a majority of the nodes is lost.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import { isPromoted, place, requirePlace } from "../../../src/move/live/shrink/place.ts";
import { setAside } from "../../../src/move/steps.ts";
import { absolute } from "../../../src/sqlite/file/file.ts";
import { roleOf } from "../../../src/sqlite/file/role.ts";
import { openSource } from "../../../src/sqlite/file/source.ts";
import type { Context } from "../../command.ts";
import { lockStore } from "../../serve/lock.ts";
import { type NodeFile, writeNode } from "../../settings/node.ts";
import { followerPath, type Settings } from "../../settings/settings.ts";
import { serverSettings } from "../../store/chosen.ts";
import { UsageError } from "../../terminal/failure.ts";
import { print, printable, printJson, say } from "../../terminal/output.ts";
import { linesOf, promote, type Promoted } from "../follower/promote.ts";
import type { JourneyFlags } from "./flags.ts";
import { blobLines, bringBlobs, type LostBlobs } from "./lost_blobs.ts";

/** How long a server of the cluster may take to accept a connection, seconds. */
const CONNECT_S = 10;

/** Runs it on the files of this machine, whose server is stopped. */
export async function shrinkLost(
  context: Context,
  flags: JourneyFlags & { keep?: string },
): Promise<void> {
  const { keep, config, dryRun, json } = flags;
  if (flags.hold || flags.release || flags.callOff || flags.status) {
    throw new UsageError("--force can be used only with --keep, --dry-run, --json and --config");
  }
  const { env } = context.io;
  const { settings, node } = await serverSettings({
    ...env,
    ...config && { UNIBUS_CONFIG: config },
  });
  if (node === null || node.name !== keep) {
    const found = node === null ? "this machine is no node" : `this machine is node ${node.name}`;
    throw new UsageError(`--force needs --keep with the name of this node; ${found}`);
  }
  const db = absolute(settings.db);
  const file = followerOf(settings, node);
  if (file === null) {
    if (json) return await printJson(context, { db, unchanged: true });
    return await print(context, printable(`nothing to do: ${keep} serves from its file ${db}`));
  }
  const streams = String(node.settings.natsStore);
  const release = existsSync(streams) ? await lockStopped(context, node, streams) : null;
  let shrunk: Shrunk;
  try {
    shrunk = await take(context, { settings, node, db, file, streams, dryRun: dryRun === true });
  } finally {
    release?.();
  }
  const { promoted, backup, blobs, saved } = shrunk;
  if (json) {
    const { report = null, keys = [] } = promoted ?? {};
    return await printJson(context, { ...report, db, backup, blobs, streams: saved, keys });
  }
  await print(
    context,
    ...promoted === null
      ? [`${file} was promoted before`]
      : linesOf(promoted.report, promoted.keys),
    ...blobLines(blobs, dryRun === true),
    ...dryRun ? [] : [`${keep} serves from ${db} from now on`],
    ...backup === null ? [] : [printable(`the former file is ${backup}`)],
    ...saved === null ? [] : [printable(`the streams of the lost cluster are in ${saved}`)],
  );
  if (!dryRun) await say(context, "next: start membershipd; make a new plan before it grows again");
}

/** What was done: `promoted` is null if an earlier run had promoted the file. */
interface Shrunk {
  promoted: Promoted | null;
  backup: string | null;
  blobs: LostBlobs;
  /** Where the streams of the cluster are now. */
  saved: string | null;
}

/** Makes the second copy the store's file; can be called again after a kill. */
async function take(context: Context, { settings, node, db, file, streams, dryRun }: {
  settings: Settings;
  node: NodeFile;
  db: string;
  file: string;
  streams: string;
  dryRun: boolean;
}): Promise<Shrunk> {
  let promoted: Promoted | null = null;
  if (isPromoted(db, file)) {
    // No process may use it.
    if (existsSync(file)) openSource(file, { check: false }).close();
  } else {
    requirePlace(db, file, null);
    const flags = { connectTimeout: CONNECT_S, ...dryRun ? { dryRun } : {} };
    promoted = await promote(context, settings, file, flags).catch((error) => {
      throw ofCluster(error, node);
    });
  }
  const blobs = await bringBlobs(settings, streams, { dryRun, signal: context.io.signal });
  if (dryRun) return { promoted, backup: null, blobs, saved: null };
  // The next cluster begins with new streams. After `place` a run that follows a kill has nothing to do.
  const saved = await setAside(streams);
  await writeNode(db, { ...node, state: "alone" });
  return { promoted, backup: place(db, file, null), blobs, saved };
}

/** The file of the second copy, whatever the node serves now; null if it has become the store's file. */
function followerOf(settings: Settings, { name, state }: NodeFile): string | null {
  const path = followerPath({ ...settings, store: "jetstream" });
  const file = path === null ? null : absolute(path);
  const db = absolute(settings.db);
  if (file !== null && (existsSync(file) || isPromoted(db, file))) return file;
  if (existsSync(db) && roleOf(db).role === "primary") {
    if (state !== "clustered") return null;
    throw new StoreError("refused", `Node ${name} serves from a file already: ${db}`, {
      hint: "start this server; if it has begun to grow, membershipd grow --call-off ends that",
    });
  }
  throw new StoreError("refused", `Node ${name} keeps no second copy of the control plane`, {
    hint: "use the one of another node, or a backup of one, with membershipd promote",
  });
}

/** Keeps the server away until it is done. */
async function lockStopped(
  { io: { signal } }: Context,
  { name }: NodeFile,
  streams: string,
): Promise<() => void> {
  try {
    return (await lockStore(streams, { signal, log: () => {} })).release;
  } catch (cause) {
    if (!isStoreError(cause, "refused")) throw cause;
    throw new StoreError("refused", `The server of node ${name} runs, or its nats-server does`, {
      cause,
      hint: `stop membershipd on this machine first; while the cluster works, use membershipd ` +
        `shrink --keep ${name} without --force`,
    });
  }
}

/** A cluster that works is left by the other way. */
function ofCluster(error: unknown, { name }: NodeFile): unknown {
  if (!isStoreError(error, "refused") || error.field !== "nats") return error;
  return new StoreError("refused", error.message, {
    cause: error,
    hint: `start this server, and run membershipd shrink --keep ${name} without --force`,
  });
}
