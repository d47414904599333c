/**
 * The way back where a follower has kept up: its file is the copy, and becomes the primary.
 *
 * @module
 */

import { existsSync, renameSync } from "node:fs";
import { StoreError } from "../core/errors.ts";
import { validRecords } from "../core/checks/integrity.ts";
import { Problems } from "../core/checks/problems.ts";
import { flip, openStill, requireComplete } from "../follower/flip.ts";
import { lockOf } from "../follower/file/prepare.ts";
import { follow } from "../follower/follow.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import { SnapshotDigest, type SnapshotSummary } from "../snapshot/mod.ts";
import { absolute } from "../sqlite/file/file.ts";
import { roleOf } from "../sqlite/file/role.ts";
import { openSource, type SqliteSource, storedIn } from "../sqlite/file/source.ts";
import { setMeta } from "../sqlite/file/schema.ts";
import { toStoreError } from "../files/errors.ts";
import { whenRemembered } from "./history/followed.ts";
import { removeFile } from "./place.ts";
import { refuseInvalid, type Steps } from "./steps.ts";
import type { KvToSqliteOptions } from "./types.ts";

/** What the file becomes. */
export interface Becomes {
  /** Identity of the control plane; its own where there is none. */
  storeId: string | undefined;
  /** The generation from now on. */
  generation: number;
  /** The key in `meta` for the digest of what it brings. */
  digestKey: string;
  /** Who moves it, for the history. */
  by: string;
}

/** What a file brings. */
export interface Brought {
  /** Its records. */
  summary: SnapshotSummary;
  /** The position in the stream that it is exact at; `null` where an earlier run had made it a primary. */
  position: number | null;
}

/**
 * Waits until the follower's file is exact at the end of the bucket, checks it, makes it a primary and
 * renames it. A file that a killed run has made a primary already is only renamed.
 */
export async function takeFollower(
  bucket: Bucket,
  options: KvToSqliteOptions & { follower: string },
  to: string,
  becomes: Becomes,
  steps: Steps,
): Promise<Brought> {
  const path = absolute(options.follower);
  const brought = wasTaken(path, becomes.digestKey)
    ? { summary: summaryOf(openSource(path), steps), position: null }
    : await promote(bucket, path, options, becomes, steps);
  try {
    renameSync(path, to);
    removeFile(lockOf(path));
  } catch (error) {
    throw toStoreError(error, `Renaming ${path} to ${to}`);
  }
  return brought;
}

/** Whether a run that was killed has made the file a primary. */
function wasTaken(path: string, digestKey: string): boolean {
  if (!existsSync(path) || roleOf(path).role !== "primary") return false;
  using file = openSource(path, { check: false });
  if (file.getMeta(digestKey) !== null) return true;
  throw new StoreError("refused", `${path} is the primary of a control plane, not a follower`, {
    field: "follower",
  });
}

async function promote(
  bucket: Bucket,
  path: string,
  { nats, history = true, signal }: KvToSqliteOptions,
  becomes: Becomes,
  steps: Steps,
): Promise<Brought> {
  steps.begin("copy", 0);
  const position = await catchUp(bucket, nats, path, { history, signal });
  using file = openStill(path);
  requireComplete(file);
  if (file.held.position !== position) {
    throw new StoreError("conflict", `Moving ${path}: another process followed with it meanwhile`);
  }
  const summary = summaryOf({ path, stored: storedIn(file.db, path) }, steps, file.held.entries);
  steps.check();
  setMeta(file.db, becomes.digestKey, summary.digest);
  flip(file, becomes);
  return { summary, position };
}

/** Follows until the file is exact at a position after all that was written. */
async function catchUp(
  bucket: Bucket,
  nats: KvToSqliteOptions["nats"],
  db: string,
  { history, signal }: { history: boolean; signal: AbortSignal | undefined },
): Promise<number> {
  const follower = await follow(bucket, nats, { db }, {
    guards: false,
    end: () => Promise.resolve(),
  });
  try {
    await follower.whenExact(undefined, { signal });
    if (history) await whenRemembered(bucket, follower, signal);
  } finally {
    await follower.close();
  }
  return follower.state().position;
}

/** Checks all records by the rules for records, and adds them up. */
function summaryOf(
  file: Pick<SqliteSource, "path" | "stored"> & Partial<Disposable>,
  steps: Steps,
  guess = 0,
): SnapshotSummary {
  using _file = { [Symbol.dispose]: () => file[Symbol.dispose]?.() };
  steps.begin("verify", guess);
  const digest = new SnapshotDigest();
  const problems = new Problems();
  let done = 0;
  for (const it of validRecords(file.stored, problems)) {
    digest.add(it);
    if (++done % 1000 !== 0) continue;
    steps.check();
    steps.report(done, guess);
  }
  refuseInvalid(problems, file.path);
  return digest.summary();
}
