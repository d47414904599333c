/**
 * Compares a bucket with the file of a follower, key by key, also while a process follows with it.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { type JetStreamOptions, openBucket } from "../../jetstream/mod.ts";
import { streamInfo } from "../../jetstream/log/stream.ts";
import { connect, readFrom, run } from "../../sqlite/file/connect.ts";
import { toStoreError } from "../../sqlite/file/errors.ts";
import { absolute, exists, requireFile } from "../../sqlite/file/file.ts";
import { readRole } from "../../sqlite/file/role.ts";
import { schemaVersion } from "../../sqlite/file/schema.ts";
import { decodeEntry } from "../../jetstream/records/entries.ts";
import type { Held } from "../file/messages.ts";
import { reading } from "../file/reading.ts";
import { type HistoryState, keeping } from "../history/table.ts";
import { parseAlarm } from "../stream/alarms.ts";
import { type Difference, findDifferences } from "./differences.ts";

/** What a comparison gave. */
export interface Inspection {
  /** What the file holds. */
  held: Held;
  /** Messages of the bucket after the file's position. */
  lag: number;
  /** Why the stream is not what it was; `null` for no such reason. */
  alarm: StoreError | null;
  /** Records that are not valid, at most one hundred: key, and why. */
  quarantine: { key: string; problem: string }[];
  /** Keys that differ. */
  differences: Difference[];
  /** Keys that were written after the file's position. */
  newer: number;
  /** The history in the file. */
  history: HistoryState;
  /** When the oldest entry was made that the history lacks and the file has taken already; `null` for none. */
  lacksSince: string | null;
}

/** Whether a file is a follower's; `false` also where that cannot be read. */
export function isFollower(db: string): boolean {
  const path = absolute(db);
  if (!exists(path)) return false;
  try {
    return readFrom(path, `Opening ${path}`, (file) => {
      return schemaVersion(file, path) > 0 && readRole(file).role === "follower";
    });
  } catch {
    // The command that opens it says what it is.
    return false;
  }
}

/**
 * Compares a bucket with a follower's file as of the file's position. Changes neither.
 *
 * @throws {StoreError} `refused`: the file is not exact, or follows another bucket; `not_found`
 */
export async function inspectFollower(
  db: string,
  nats: JetStreamOptions,
): Promise<Inspection> {
  const path = requireFile(db);
  const file = connect(path, { busyTimeout: 5000, readOnly: true });
  try {
    schemaVersion(file, path);
    // One state of the file, whatever is applied to it meanwhile.
    run(file, "BEGIN");
    return await inspect(file, path, nats);
  } catch (error) {
    throw toStoreError(error, `Comparing ${path}`);
  } finally {
    file.close();
  }
}

async function inspect(
  db: DatabaseSync,
  path: string,
  nats: JetStreamOptions,
): Promise<Inspection> {
  const held = reading(db).held();
  const refuse = (field: string, found: string): never => {
    throw new StoreError("refused", `Comparing ${path}: ${found}`, { field });
  };
  if (held === null) return refuse("position", "it was never loaded from its bucket");
  if (!held.exact) refuse("position", `it is not exact at position ${held.position}; try again`);
  const { signal } = nats;
  const { bucket, end } = await openBucket({ ...nats, create: false, resize: false });
  try {
    if (bucket.name !== held.bucket) {
      refuse("bucket", `it follows bucket ${held.bucket}, not ${bucket.name}`);
    }
    const found = await findDifferences(bucket, { db, path, held }, signal);
    const info = await streamInfo(bucket, Date.now() + 5000, signal);
    return {
      held,
      lag: Math.max(0, (info?.state.last_seq ?? 0) - held.position),
      alarm: held.alarm === null ? null : parseAlarm(held.alarm),
      quarantine: db.prepare("SELECT key, problem FROM follower_quarantine ORDER BY key LIMIT 100")
        .all().map(({ key, problem }) => ({ key: String(key), problem: String(problem) })),
      differences: found.differences,
      newer: found.kept,
      ...historyIn(db),
    };
  } finally {
    await end();
  }
}

function historyIn(db: DatabaseSync): Pick<Inspection, "history" | "lacksSince"> {
  const first = db.prepare(`SELECT number, value FROM follower_tail
    WHERE number > ifnull(CAST(
      (SELECT value FROM meta WHERE key = 'follower_history_origin') AS INTEGER), 0)
      AND length(value) > 0 ORDER BY number LIMIT 1`).get();
  const placed = first && decodeEntry(first.value as Uint8Array, Number(first.number));
  return { history: keeping(db).state(), lacksSince: placed?.entry.at ?? null };
}
