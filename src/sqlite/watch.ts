/**
 * Noticing what other connections commit, in this process or another: SQLite tells nobody, but
 * counts, and looking at the count costs no disk access.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { clearInterval, setInterval } from "node:timers";
import { asArrays, type Row } from "./rows.ts";

/** How often the count is looked at, milliseconds: a change is told within 250. */
const INTERVAL = 150;

/**
 * Calls `onCommit` after other connections have committed, until it is ended; end it before the
 * connection is closed. Does not keep the process running.
 */
export function watchCommits(db: DatabaseSync, onCommit: () => void): () => void {
  const statement = asArrays(db.prepare("PRAGMA data_version"));
  const count = () => (statement.get() as unknown as Row)[0];
  let seen = count();
  const timer = setInterval(() => {
    try {
      const now = count();
      if (now === seen) return;
      seen = now;
    } catch {
      // Out of reach for a moment; the count goes on, and the next look sees it.
      return;
    }
    onCommit();
  }, INTERVAL);
  timer.unref();
  return () => clearInterval(timer);
}
