/**
 * Reads and prunes the history in a file.
 *
 * @module
 */

import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { type Author, did, type HistoryEntry } from "../../core/history/entry.ts";
import { compareRevisions, formatRevision, type Revision } from "../../core/history/revision.ts";
import {
  type ChainEnd,
  type HistoryProblem,
  type HistoryRange,
  type HistorySource,
  type PruneRange,
  requireKept,
  type SignedHead,
  type StoredEntry,
} from "../../core/history/source.ts";
import { COLUMNS, type End, HistoryTable } from "./table.ts";

/** Entries that one read of {@link FileHistory.follow} and {@link FileHistory.walk} returns at most. */
const STEP = 500;

const AFTER = "(generation, number) > (?, ?)";
const ORDER = "ORDER BY generation, number";
const NEWEST = "SELECT generation, number FROM history ORDER BY generation DESC, number DESC";
/** The last entry that one call of {@link FileHistory.prune} may remove comes behind so many. */
const MOST = 20_000 - 1;

const FILTERS = ["user", "room", "invite", "by", "action"] as const;

/** What {@link FileHistory} needs of its store. */
export interface HistoryUse {
  /** Runs work that reads; on one state of the file. */
  read<T>(attempt: string, work: () => T): Promise<T>;
  /** Runs a transaction that writes. */
  write<T>(attempt: string, work: () => T): Promise<T>;
  /** Resolves when the file has changed, by whatever process, or the signal is aborted. */
  changed(signal: AbortSignal): Promise<void>;
}

/** The history in a file. */
export class FileHistory implements HistorySource {
  readonly #db: DatabaseSync;
  readonly #table: HistoryTable;
  readonly #use: HistoryUse;

  constructor(db: DatabaseSync, table: HistoryTable, use: HistoryUse) {
    this.#db = db;
    this.#table = table;
    this.#use = use;
  }

  page(range: HistoryRange): Promise<HistoryEntry[]> {
    const { sql, values } = queryOf(range);
    return this.#use.read("Reading the history", () => {
      if (!range.newest) requireKept(range.after, this.#table.start().revision);
      return this.#table.read(sql, ...values).map(({ entry }) => entry);
    });
  }

  async *follow(after: Revision | null, signal: AbortSignal): AsyncGenerator<HistoryEntry[]> {
    let last = after;
    while (!signal.aborted) {
      const changed = this.#use.changed(signal);
      const entries = await this.#next("Following the history", last);
      if (entries.length === 0) {
        await changed;
        continue;
      }
      last = placeOf(entries.at(-1)!);
      yield entries.map(({ entry }) => entry);
    }
  }

  async *walk(after: Revision | null, signal?: AbortSignal): AsyncGenerator<StoredEntry> {
    for (let last = after; !signal?.aborted;) {
      const entries = await this.#next("Reading the history", last);
      if (entries.length === 0) return;
      last = placeOf(entries.at(-1)!);
      yield* entries;
    }
  }

  head(): Promise<ChainEnd> {
    return this.#use.read("Reading the history", () => endOf(this.#table.end()));
  }

  start(): Promise<ChainEnd> {
    return this.#use.read("Reading the history", () => endOf(this.#table.start()));
  }

  prune({ before, keep, all }: PruneRange, author: Author): Promise<number> {
    return this.#use.write("Pruning the history", () => {
      const cut = all ? this.#key(`${NEWEST} LIMIT 1`) : this.#lastToPrune(before, keep);
      if (cut === null) return 0;
      const { generation, number } = cut;
      const upTo = formatRevision(cut);
      const [{ head }] = this.#table.read(
        `SELECT ${COLUMNS} FROM history WHERE generation = ? AND number = ?`,
        generation,
        number,
      ) as [StoredEntry];
      this.#table.cut({ revision: upTo, head: head! });
      const count = Number(
        this.#db.prepare("DELETE FROM history WHERE (generation, number) <= (?, ?)")
          .run(generation, number).changes,
      );
      this.#table.append(did.historyPruned(count, upTo, head!), author);
      return count;
    });
  }

  heads(): Promise<SignedHead[]> {
    return this.#use.read(
      "Reading the signed heads",
      () => this.#db.prepare("SELECT * FROM history_heads ORDER BY node").all(),
    ) as Promise<unknown> as Promise<SignedHead[]>;
  }

  /** Checks the indexes, from which pages are read: a row that one of them lacks would not be shown. */
  async *check(): AsyncGenerator<HistoryProblem> {
    const rows = await this.#use.read(
      "Checking the history",
      () => this.#db.prepare("PRAGMA integrity_check(history)").all(),
    );
    for (const { integrity_check: found } of rows) {
      if (found !== "ok") yield { revision: null, message: `The file is damaged: ${found}` };
    }
  }

  sign({ node, revision, head, at, key, signature }: SignedHead): Promise<void> {
    return this.#use.write("Storing a signed head", () => {
      this.#db.prepare("INSERT OR REPLACE INTO history_heads VALUES (?, ?, ?, ?, ?, ?)")
        .run(node, revision, head, at, key, signature);
    });
  }

  #next(attempt: string, last: Revision | null): Promise<StoredEntry[]> {
    return this.#use.read(attempt, () => {
      const start = this.#table.start().revision;
      requireKept(last, start);
      return this.#table.after(last, STEP);
    });
  }

  /** Returns the last entry to prune; `null` for none. */
  #lastToPrune(before: string | null, keep: number | null): Revision | null {
    const old = before === null ? null : this.#lastBefore(before);
    const more = keep === null ? null : this.#key(`${NEWEST} LIMIT 1 OFFSET ?`, keep);
    const last = [old, more].filter((it) => it !== null).sort(compareRevisions).at(-1) ?? null;
    const most = this.#key(
      `SELECT generation, number FROM history ${ORDER} LIMIT 1 OFFSET ?`,
      MOST,
    );
    return last !== null && most !== null && compareRevisions(most, last) < 0 ? most : last;
  }

  /** Clocks differ, so an old entry may come after a newer one: only those before all newer ones count. */
  #lastBefore(time: string): Revision | null {
    const sql = `SELECT generation, number FROM history WHERE at >= ? ${ORDER} LIMIT 1`;
    const kept = this.#key(sql, time);
    if (kept === null) return this.#key(`${NEWEST} LIMIT 1`);
    const earlier = NEWEST.replace("ORDER", "WHERE (generation, number) < (?, ?) ORDER");
    return this.#key(`${earlier} LIMIT 1`, kept.generation, kept.number);
  }

  #key(sql: string, ...values: SQLInputValue[]): Revision | null {
    const row = this.#db.prepare(sql).get(...values);
    return row === undefined
      ? null
      : { generation: Number(row.generation), number: Number(row.number) };
  }
}

/** Returns the place of a row, which somebody may have changed. */
function placeOf({ entry }: StoredEntry): Revision {
  const [generation, number] = entry.revision.split(".").map(Number);
  return { generation: generation!, number: number! };
}

function endOf({ revision, head }: End): ChainEnd {
  return { revision: revision && formatRevision(revision), head };
}

/** Returns the query of a page. */
export function queryOf(range: HistoryRange): { sql: string; values: SQLInputValue[] } {
  const conditions: string[] = [];
  const values: SQLInputValue[] = [];
  const require = (condition: string, ...given: SQLInputValue[]) => {
    conditions.push(condition);
    values.push(...given);
  };
  for (const column of FILTERS) {
    if (range[column] !== null) require(`${column} = ?`, range[column]);
  }
  if (range.since !== null) require("at >= ?", range.since);
  const { after, before } = range;
  if (after !== null) require(AFTER, after.generation, after.number);
  if (before !== null) require("(generation, number) < (?, ?)", before.generation, before.number);
  const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
  const order = range.newest ? "ORDER BY generation DESC, number DESC" : ORDER;
  return {
    sql: `SELECT ${COLUMNS} FROM history ${where} ${order} LIMIT ?`,
    values: [...values, range.limit],
  };
}
