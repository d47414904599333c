/**
 * The history in a follower's file, as its thread reads and fills it.
 *
 * @module
 */

import type { DatabaseSync, SQLInputValue, SQLOutputValue } from "node:sqlite";

/** An end of the chain in the file. */
export interface KeptEnd {
  /** The generation of the last entry. */
  generation: number;
  /** Its number. */
  number: number;
  /** The head after it. */
  head: Uint8Array;
}

/** What the history of a file ends with. */
export interface KeptLast {
  /** Where the oldest row continues; `null` for the first entry. */
  cut: KeptEnd | null;
  /** The last two rows, the last first. */
  rows: SQLOutputValue[][];
}

/** An entry as the bucket's stream has it. */
export interface TailEntry {
  /** Its sequence. */
  number: number;
  /** Its value; empty for a transaction that was not made. */
  value: Uint8Array;
}

/** How far the history of a file has come. */
export interface HistoryState {
  /** The newest entry; `null` for none. */
  revision: string | null;
  /** Entries of the stream that are not in it yet; above 1,000 not counted further. */
  behind: number;
  /** What is missing in it; `null` for nothing. */
  gap: string | null;
}

/** Entries that follow those in the file. */
export interface MoreHistory {
  /**
   * Set if they do not continue what is there: that goes, and they continue from this cut, `null` for the
   * first entry; with why, if something is missing between.
   */
  restart: { cut: KeptEnd | null; gap: string | null } | null;
  /** Their rows, each with its head. */
  rows: SQLInputValue[][];
  /** The end of what was pruned among them and before; `null` if nothing was. */
  pruned: KeptEnd | null;
  /** The sequence of the bucket's stream up to which all entries are in the file now. */
  origin: number;
}

/** The history in a file. */
export interface KeptHistory {
  /** Returns how far it has come. */
  state(): HistoryState;
  /** Returns what it ends with. */
  last(): KeptLast;
  /** Returns entries of the stream after a sequence; `null` while the file is being written. */
  tail(after: number): TailEntry[] | null;
  /** Takes entries in; `null` while the file is being written. */
  add(more: MoreHistory): HistoryState | null;
}

/** Reads and fills the history of a file. A part of the thread: uses nothing from outside of itself. */
export function keeping(db: DatabaseSync): KeptHistory {
  const LIMIT = 1000;
  const run = (sql: string, ...values: SQLInputValue[]) => db.prepare(sql).run(...values);
  const note = (name: string, value: string) =>
    run("INSERT OR REPLACE INTO meta VALUES (?, ?)", `follower_history_${name}`, value);
  const takeCut = (cut: KeptEnd | null) => {
    run("DELETE FROM history_cut");
    if (cut === null) return;
    run("INSERT INTO history_cut VALUES (1, ?, ?, ?)", cut.generation, cut.number, cut.head);
  };
  const prune = ({ generation, number, head }: KeptEnd) => {
    const last = db.prepare("SELECT 1 FROM history WHERE generation = ? AND number = ?")
      .get(generation, number);
    // Pruned before the file had it.
    if (last === undefined) return;
    takeCut({ generation, number, head });
    run("DELETE FROM history WHERE (generation, number) <= (?, ?)", generation, number);
  };
  const take = ({ restart, rows, pruned, origin }: MoreHistory) => {
    if (restart !== null) {
      run("DELETE FROM history");
      takeCut(restart.cut);
      if (restart.gap !== null) note("gap", restart.gap);
    }
    const insert = db.prepare("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    for (const row of rows) insert.run(...row);
    if (pruned !== null) prune(pruned);
    run("DELETE FROM follower_tail WHERE number <= ?", origin);
    note("origin", String(origin));
  };
  const state = (): HistoryState => {
    const { revision, behind, gap } = db.prepare(`SELECT
        (SELECT generation || '.' || number FROM history
          ORDER BY generation DESC, number DESC LIMIT 1) AS revision,
        (SELECT count(*) FROM (SELECT 1 FROM follower_tail
          WHERE number > ifnull(CAST(
            (SELECT value FROM meta WHERE key = 'follower_history_origin') AS INTEGER), 0)
          LIMIT ${LIMIT + 1})) AS behind,
        (SELECT value FROM meta WHERE key = 'follower_history_gap') AS gap`).get()!;
    return {
      revision: revision as string | null,
      behind: Number(behind),
      gap: gap as string | null,
    };
  };
  return {
    state,
    last() {
      const cut = db.prepare("SELECT generation, number, head FROM history_cut").get();
      const rows = db.prepare("SELECT * FROM history ORDER BY generation DESC, number DESC LIMIT 2")
        .all().map((row) => Object.values(row));
      return { cut: (cut ?? null) as unknown as KeptEnd | null, rows };
    },
    tail: (after) =>
      db.isTransaction ? null : db.prepare(
        `SELECT number, value FROM follower_tail WHERE number > ? ORDER BY number LIMIT ${LIMIT}`,
      ).all(after) as unknown as TailEntry[],
    add(more) {
      if (db.isTransaction) return null;
      run("BEGIN IMMEDIATE");
      try {
        take(more);
        run("COMMIT");
      } catch (error) {
        run("ROLLBACK");
        throw error;
      }
      return state();
    },
  };
}
