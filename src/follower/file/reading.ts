/**
 * What the thread of a follower reads of its file.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import type { Compared, Expected, Held, Known, Sample } from "./messages.ts";

/** Reads of a file. */
export interface Reading {
  /** What the file holds; `null` before the first load. */
  held(): Held | null;
  /** How many messages expired before `from`, and expire then up to `to`. */
  expiring(from: number, to: number): Omit<Expected, "certain">;
  /** The keys with the newest revisions. */
  newest(limit: number): Known[];
  /** Compares messages of the stream with the file. */
  compare(sample: Sample): Compared;
  /** The next live keys that begin with a text, in order. */
  keys(prefix: string, after: string): string[];
  /** How many live keys begin with a text and were not written after a position. */
  count(prefix: string, since: number): number;
}

/** Reads a file. A part of the thread: uses nothing from outside of itself. */
export function reading(db: DatabaseSync): Reading {
  return {
    held() {
      const row = db.prepare("SELECT * FROM follower").get();
      if (row === undefined) return null;
      const written = db.prepare("SELECT value FROM meta WHERE key = 'follower_written_at'").get();
      const { quarantined, key, problem } = db.prepare(
        "SELECT count(*) AS quarantined, min(key) AS key, problem FROM follower_quarantine",
      ).get()!;
      return {
        bucket: String(row.bucket),
        created: String(row.created),
        position: Number(row.position),
        exact: row.exact === 1,
        digest: String(row.digest),
        entries: Number(row.entries),
        updatedAt: Number(row.updated_at),
        writtenAt: written === undefined ? null : Number(written.value),
        alarm: row.alarm as string | null,
        quarantined: Number(quarantined),
        invalid: key === null ? null : { key: String(key), problem: String(problem) },
      };
    },
    expiring(from, to) {
      const { expired, expiring } = db.prepare(`SELECT
          count(*) FILTER (WHERE expires < ?1) AS expired,
          count(*) FILTER (WHERE expires >= ?1) AS expiring
        FROM follower_others WHERE expires <= ?2`).get(from, to)!;
      return { expired: Number(expired), expiring: Number(expiring) };
    },
    newest: (limit) =>
      db.prepare("SELECT key, revision, hash FROM follower_entries ORDER BY revision DESC LIMIT ?")
        .all(limit).map(({ key, revision, hash }) => ({
          key: String(key),
          revision: Number(revision),
          hash: hash as Uint8Array,
        })),
    compare({ seen, since }) {
      const entry = db.prepare("SELECT revision, hash FROM follower_entries WHERE key = ?");
      const other = db.prepare("SELECT revision FROM follower_others WHERE key = ?");
      let accounted = 0;
      for (const { key, revision, hash } of seen) {
        const row = entry.get(key);
        const now = Number((row ?? other.get(key))?.revision ?? 0);
        // Written or deleted since, and that was applied.
        if (now > since) continue;
        if (row === undefined) {
          if (revision > since || hash === null) continue;
          return { accounted, found: `the stream has ${key} at ${revision}, the follower not` };
        }
        const stored = row.hash as Uint8Array;
        const isSame = revision === now && hash !== null &&
          stored.every((byte, i) => byte === hash[i]);
        if (revision <= since && !isSame) {
          const what = revision === now ? "with another value" : `at ${now}`;
          return { accounted, found: `the stream has ${key} at ${revision}, the follower ${what}` };
        }
        accounted++;
      }
      return { accounted, found: null };
    },
    keys: (prefix, after) =>
      db.prepare(`SELECT key FROM follower_entries
        WHERE key >= ?1 AND key < ?2 AND key > ?3 ORDER BY key LIMIT 2000`)
        .all(prefix, `${prefix}\u{10ffff}`, after).map(({ key }) => String(key)),
    count: (prefix, since) =>
      Number(
        db.prepare(`SELECT count(*) AS count FROM follower_entries
          WHERE key >= ? AND key < ? AND revision <= ?`).get(prefix, `${prefix}\u{10ffff}`, since)!
          .count,
      ),
  };
}
