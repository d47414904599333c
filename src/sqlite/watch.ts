/**
 * Notices commits of other connections, in this process or another. SQLite has no notifications, but
 * a counter, which can be read without disk access.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { clearInterval, setInterval } from "node:timers";
import { asArrays, type Row } from "./rows.ts";

/** Polling interval in milliseconds; changes are reported within 250. */
const INTERVAL = 150;

/**
 * Calls `onCommit` after other connections have committed. Does not keep the process running.
 *
 * @returns A function that stops it; call it before the connection is closed
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
      // Temporarily unreadable; the next poll sees the change.
      return;
    }
    onCommit();
  }, INTERVAL);
  timer.unref();
  return () => clearInterval(timer);
}
