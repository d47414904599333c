/**
 * What a stream lacks of what an exact follower holds, key by key.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { isData } from "../../jetstream/contents/compare.ts";
import type { Bucket, Entry } from "../../jetstream/log/bucket.ts";
import { scan } from "../../jetstream/log/feed.ts";
import { hashOf } from "../file/changes.ts";
import type { Held } from "../file/messages.ts";
import type { StillFile } from "../flip.ts";
import { type HeldValue, valuesOf } from "../file/values.ts";

/** How a key of the stream differs. */
export type ChangeKind =
  /** It is missing. */
  | "restore"
  /** It has an older value, or another one. */
  | "replace"
  /** It was deleted, and is there again. */
  | "delete";

/** A key that the stream does not hold as the follower does. */
export interface Difference {
  /** The key. */
  key: string;
  /** What has to be done. */
  change: ChangeKind;
  /** The revision that the stream has of it now; 0 for none. */
  revision: number;
}

/** What a comparison found. */
export interface Found {
  /** The differences, in the order of keys. */
  differences: Difference[];
  /** Keys that differ because they were written after the follower's position. */
  kept: number;
}

/** Compares a stream with a file; keys written after the file's position count as right. */
export async function findDifferences(
  bucket: Bucket,
  { db, path, held }: Pick<StillFile, "db" | "path" | "held">,
  signal?: AbortSignal,
): Promise<Found> {
  const valueOf = valuesOf(path, db);
  const differences = new Map<string, Difference>();
  const kept = new Set<string>();
  db.exec(`DROP TABLE IF EXISTS temp.repair_seen;
    CREATE TABLE temp.repair_seen (key TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID`);
  const see = db.prepare("INSERT OR IGNORE INTO temp.repair_seen VALUES (?)");
  await scan(bucket, {
    signal,
    onEntry: (entry, { writtenAt }) => {
      const { key, revision } = entry;
      if (!isData(key)) return;
      see.run(key);
      // A later message of the key replaces an earlier one.
      differences.delete(key);
      const change = changeOf(entry, valueOf(key));
      if (change === null) return;
      if (isLater(revision, writtenAt, held)) kept.add(key);
      else differences.set(key, { key, change, revision });
    },
  });
  const gone = db.prepare(
    `SELECT key FROM follower_entries WHERE key NOT IN (SELECT key FROM temp.repair_seen)`,
  );
  for (const { key } of gone.iterate()) {
    differences.set(String(key), { key: String(key), change: "restore", revision: 0 });
  }
  db.exec("DROP TABLE temp.repair_seen");
  const sorted = [...differences.values()].sort((a, b) => a.key < b.key ? -1 : 1);
  return { differences: sorted, kept: kept.size };
}

/**
 * Whether a message is later than all that the file holds: a stream that was put back counts from an
 * earlier sequence again. The server's clock is compared with itself, not with that of this machine.
 */
function isLater(revision: number, at: number, { position, writtenAt, updatedAt }: Held): boolean {
  return revision > position || at > (writtenAt ?? updatedAt);
}

function changeOf(entry: Entry, held: HeldValue | null): ChangeKind | null {
  const isLive = entry.data.length > 0;
  if (held === null) return isLive ? "delete" : null;
  if (!isLive) return "restore";
  if (entry.revision === held.revision) {
    const hash = hashOf(entry);
    if (held.hash.every((byte, i) => byte === hash[i])) return null;
  }
  return Buffer.from(entry.data).toString("utf8") === held.read() ? null : "replace";
}
