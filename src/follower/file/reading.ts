/**
 * What the thread of a follower reads of its file.
 *
 * @module
 */

import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import type { Expected, Held, Known } from "./messages.ts";

/** Reads of a file. */
export interface Reading {
  /** What the file holds; `null` before the first load. */
  held(): Held | null;
  /** How many messages the stream should hold at a time. */
  expected(entries: number, at: number, margin: number): Expected;
  /** The keys with the newest revisions. */
  newest(limit: number): Known[];
  /** Some keys; those that are not live are left out. */
  find(keys: string[]): Known[];
}

/** Reads a file. A part of the thread: uses nothing from outside of itself. */
export function reading(db: DatabaseSync): Reading {
  const known = (condition: string, value: SQLInputValue): Known[] =>
    db.prepare(`SELECT key, revision, hash FROM follower_entries ${condition}`).all(value)
      .map(({ key, revision, hash }) => ({
        key: String(key),
        revision: Number(revision),
        hash: hash as Uint8Array,
      }));
  return {
    held() {
      const row = db.prepare("SELECT * FROM follower").get();
      if (row === undefined) return null;
      const { quarantined } = db.prepare(
        "SELECT count(*) AS quarantined FROM follower_quarantine",
      ).get()!;
      return {
        bucket: String(row.bucket),
        created: String(row.created),
        position: Number(row.position),
        exact: row.exact === 1,
        digest: String(row.digest),
        entries: Number(row.entries),
        updatedAt: Number(row.updated_at),
        alarm: row.alarm as string | null,
        quarantined: Number(quarantined),
      };
    },
    expected(entries, at, margin) {
      // Gone for certain.
      db.prepare("DELETE FROM follower_others WHERE expires < ?").run(at - 60 * margin);
      const { certain, expiring } = db.prepare(`SELECT
          count(*) FILTER (WHERE expires IS NULL OR expires > ?2) AS certain,
          count(*) FILTER (WHERE expires BETWEEN ?1 AND ?2) AS expiring
        FROM follower_others`).get(at - margin, at + margin)!;
      return { certain: entries + Number(certain), expiring: Number(expiring) };
    },
    newest: (limit) => known("ORDER BY revision DESC LIMIT ?", limit),
    find: (keys) => keys.flatMap((key) => known("WHERE key = ?", key)),
  };
}
