/**
 * The statements by which the thread of a follower takes messages in.
 *
 * @module
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { WorkOptions } from "./messages.ts";

/** Statements, prepared; those of the records' tables in the order of the tables. */
export interface Statements {
  entry: StatementSync;
  putEntry: StatementSync;
  removeEntry: StatementSync;
  putOther: StatementSync;
  removeOther: StatementSync;
  putTail: StatementSync;
  putPending: StatementSync;
  removePending: StatementSync;
  putBad: StatementSync;
  removeBad: StatementSync;
  put: StatementSync[];
  remove: StatementSync[];
}

/**
 * Prepares the statements. A part of the thread: uses nothing from outside of itself.
 *
 * @param staged Whether entries and records go to the temporary tables of a load
 */
export function statements(
  db: DatabaseSync,
  tables: WorkOptions["tables"],
  staged: boolean,
): Statements {
  const marks = (columns: string[]) => columns.map(() => "?").join(", ");
  const put = (name: string, columns: string[]) =>
    staged
      ? `INSERT INTO temp.staged_${name} VALUES (?, ?, ?, ${marks(columns)})`
      : `INSERT OR REPLACE INTO ${name} (${columns.join(", ")}) VALUES (${marks(columns)})`;
  const remove = (name: string, key: string[]) =>
    `DELETE FROM ${name} WHERE ${key.map((it) => `${it} = ?`).join(" AND ")}`;
  return {
    entry: db.prepare("SELECT hash FROM follower_entries WHERE key = ?"),
    putEntry: db.prepare(
      `INSERT OR REPLACE INTO ${staged ? "temp.staged" : "follower_entries"} VALUES (?, ?, ?, ?)`,
    ),
    removeEntry: db.prepare("DELETE FROM follower_entries WHERE key = ?"),
    putOther: db.prepare("INSERT INTO follower_others VALUES (?, ?, ?)"),
    removeOther: db.prepare("DELETE FROM follower_others WHERE key = ?"),
    putTail: db.prepare("INSERT OR REPLACE INTO follower_tail VALUES (?, ?)"),
    putPending: db.prepare("INSERT OR REPLACE INTO follower_pending VALUES (?, ?)"),
    removePending: db.prepare("DELETE FROM follower_pending WHERE room_id = ?"),
    putBad: db.prepare("INSERT OR REPLACE INTO follower_quarantine VALUES (?, ?, ?, ?)"),
    removeBad: db.prepare("DELETE FROM follower_quarantine WHERE key = ?"),
    put: tables.map(([name, columns]) => db.prepare(put(name, columns))),
    remove: tables.map(([name, , key]) => db.prepare(remove(name, key))),
  };
}
