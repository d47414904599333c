/**
 * Removes what a primary still holds of the time when it was a follower. That may be as much as its
 * records, so it goes in small pieces beside other work, and a file that is opened again continues.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { clearTimeout, setTimeout } from "node:timers";
import { run, transaction, value } from "./file/connect.ts";
import { readRole } from "./file/role.ts";

/** Tables of which only a follower has use, and that may be large. */
const LARGE = ["follower_entries", "follower_others"] as const;
/** Keys that are removed at a time: a few milliseconds. */
const PIECE = 200;
/** The pause between two pieces, times the duration of one, and in milliseconds at least. */
const PAUSE = 10;
const SHORTEST = 20;
/** Milliseconds after opening: a command that does one thing leaves it to others. */
const FIRST = 1000;

/**
 * Begins to remove it, if there is something. Ends when the control plane begins to move: the next
 * opening continues. Does not keep the process running.
 *
 * @param busyTimeout The connection's own, restored after each piece
 * @returns A function that ends it; call it before the connection is closed
 */
export function clearRemains(db: DatabaseSync, busyTimeout: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const next = (pause: number) => {
    timer = setTimeout(() => {
      const begun = performance.now();
      try {
        if (!removePiece(db, busyTimeout)) return;
        next(Math.max(SHORTEST, PAUSE * (performance.now() - begun)));
      } catch {
        // Somebody else writes, or the disk is full: nothing depends on it.
        next(FIRST);
      }
    }, pause);
    timer.unref();
  };
  if (isLeft(db)) next(FIRST);
  return () => clearTimeout(timer);
}

function isLeft(db: DatabaseSync): boolean {
  const { role, frozenAt } = readRole(db);
  return role === "primary" && frozenAt === null &&
    LARGE.some((table) => value(db, `SELECT 1 FROM ${table} LIMIT 1`) !== undefined);
}

/** Returns whether there is more. */
function removePiece(db: DatabaseSync, busyTimeout: number): boolean {
  // Waiting would block the process, and what a power failure brings back is removed again.
  db.exec("PRAGMA busy_timeout = 0; PRAGMA synchronous = NORMAL");
  try {
    return transaction(db, "BEGIN IMMEDIATE", () => {
      if (!isLeft(db)) return false;
      for (const table of LARGE) {
        run(db, `DELETE FROM ${table} WHERE key IN (SELECT key FROM ${table} LIMIT ${PIECE})`);
      }
      return true;
    });
  } finally {
    db.exec(`PRAGMA busy_timeout = ${busyTimeout}; PRAGMA synchronous = FULL`);
  }
}
