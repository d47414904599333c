/**
 * The table of the history: adds an entry to the end of the chain, and reads rows.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { FIRST_HEAD, headAfter } from "../../core/history/chain.ts";
import type {
  Author,
  Draft,
  HistoryAction,
  HistoryEntry,
  SmallValues,
} from "../../core/history/entry.ts";
import {
  compareRevisions,
  formatRevision,
  parseRevision,
  type Revision,
} from "../../core/history/revision.ts";
import type { ChainEnd, StoredEntry } from "../../core/history/source.ts";
import { asArrays, type Row } from "../rows.ts";

/** Columns of an entry, and its head. */
export const COLUMNS =
  "generation, number, at, by, action, user, room, invite, before, after, lower(hex(head))";

/** Also before rows that another program wrote, which a verification is to find. */
const BEFORE_ALL = { generation: Number.MIN_SAFE_INTEGER, number: Number.MIN_SAFE_INTEGER };

const SQL = {
  last: `SELECT generation, number, lower(hex(head)) FROM history
    ORDER BY generation DESC, number DESC LIMIT 1`,
  cut: "SELECT generation, number, lower(hex(head)) FROM history_cut",
  // One read for each change: of the file's generation, and of the last row if there is one.
  next: `SELECT r.generation, h.generation, h.number, lower(hex(h.head)) FROM file_role r
    LEFT JOIN (SELECT generation, number, head FROM history
      ORDER BY generation DESC, number DESC LIMIT 1) h`,
  after: `SELECT ${COLUMNS} FROM history WHERE (generation, number) > (?, ?)
    ORDER BY generation, number LIMIT ?`,
  count: "SELECT count(*) FROM history WHERE (generation, number) > (?, ?)",
  cut_at: "INSERT OR REPLACE INTO history_cut VALUES (1, ?, ?, ?)",
  raise: "UPDATE file_role SET generation = max(generation, ?)",
  head: "SELECT lower(hex(head)) FROM history WHERE generation = ? AND number = ?",
  insert: "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
} as const;

/** An end of the chain, with its revision in parts. */
export interface End {
  /** The last entry; null for none. */
  revision: Revision | null;
  /** The head after it, hex. */
  head: string;
}

/** The table on one connection. */
export class HistoryTable {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** Adds an entry to the end, in the transaction that makes the change. */
  append(draft: Draft, author: Author): void {
    const [generation, ...last] = this.#get(SQL.next)!;
    const end = last[0] === null ? this.start() : endOf(last)!;
    const isFirst = end.revision?.generation !== generation;
    const number = isFirst ? 1 : end.revision!.number + 1;
    const { by, at } = author;
    const revision = formatRevision({ generation: Number(generation), number });
    this.#add({ revision, at, by, ...draft }, end.head);
    author.wrote(revision);
  }

  /** Adds all entries of a history to an empty table; the file's later revisions come after them. */
  restore(start: ChainEnd, entries: Iterable<HistoryEntry>): void {
    this.cut(start);
    this.addAll(entries);
    const { revision } = this.end();
    if (revision !== null) this.#prepare(SQL.raise).run(revision.generation);
  }

  /** Adds entries behind all others; returns how many. */
  addAll(entries: Iterable<HistoryEntry>): number {
    let { head } = this.end();
    let added = 0;
    for (const entry of entries) {
      head = this.#add(entry, head);
      added++;
    }
    return added;
  }

  /** Notes where the oldest row continues. */
  cut({ revision, head }: ChainEnd): void {
    if (revision === null) return;
    const { generation, number } = parseRevision("revision", revision);
    this.#prepare(SQL.cut_at).run(generation, number, Buffer.from(head, "hex"));
  }

  /** Adds an entry whose revision is known behind all others; returns the head after it. */
  add(entry: HistoryEntry): string {
    return this.#add(entry, this.end().head);
  }

  #add(entry: HistoryEntry, before: string): string {
    const head = headAfter(before, entry);
    this.#prepare(SQL.insert).run(...rowOf(entry), Buffer.from(head, "hex"));
    return head;
  }

  /** Returns the end of the chain. */
  end(): End {
    return endOf(this.#get(SQL.last)) ?? this.start();
  }

  /** Returns where the oldest row continues. */
  start(): End {
    return endOf(this.#get(SQL.cut)) ?? { revision: null, head: FIRST_HEAD };
  }

  /** Returns the head after an entry that is there, or was the last one pruned; otherwise `null`. */
  headAt({ generation, number }: Revision): string | null {
    const row = this.#prepare(SQL.head).get(generation, number) as unknown as Row | undefined;
    if (row !== undefined) return String(row[0]);
    const { revision, head } = this.start();
    return revision !== null && compareRevisions(revision, { generation, number }) === 0
      ? head
      : null;
  }

  /** Returns the first rows after a revision, at most `limit`. */
  after(last: Revision | null, limit: number): StoredEntry[] {
    const { generation, number } = last ?? BEFORE_ALL;
    return this.read(SQL.after, generation, number, limit);
  }

  /** Returns the number of rows after a revision. */
  count(last: Revision | null): number {
    const { generation, number } = last ?? BEFORE_ALL;
    const row = this.#prepare(SQL.count).get(generation, number) as unknown as Row;
    return Number(row[0]);
  }

  /** Returns the rows of a query that selects {@link COLUMNS}. */
  read(sql: string, ...values: SQLInputValue[]): StoredEntry[] {
    const rows = this.#prepare(sql).all(...values) as unknown as Row[];
    return rows.map(storedOf);
  }

  #get(sql: string): Row | undefined {
    return this.#prepare(sql).get() as unknown as Row | undefined;
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = asArrays(this.#db.prepare(sql));
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** Returns the table of a database; `null` for a file of a version that has none. */
export function historyIn(db: DatabaseSync): HistoryTable | null {
  const found = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'history'").get();
  return found === undefined ? null : new HistoryTable(db);
}

function endOf(row: Row | undefined): End | null {
  if (row === undefined) return null;
  const [generation, number, head] = row;
  return {
    revision: { generation: Number(generation), number: Number(number) },
    head: String(head),
  };
}

/** Returns the values of an entry's row, but for its head. */
export function rowOf(entry: HistoryEntry): SQLInputValue[] {
  const { revision, at, by, action, user, room, invite, before, after } = entry;
  const [generation, number] = revision.split(".").map(Number) as [number, number];
  const json = (values: SmallValues | null) => values && JSON.stringify(values);
  return [generation, number, at, by, action, user, room, invite, json(before), json(after)];
}

/** Returns what a row of {@link COLUMNS} says. */
export function storedOf(row: Row): StoredEntry {
  const [generation, number, at, by, action, user, room, invite, before, after, head] = row;
  const text = (value: Row[number] | undefined) => value === null ? null : String(value);
  return {
    entry: {
      revision: `${generation}.${number}`,
      at: String(at),
      by: String(by),
      action: String(action) as HistoryAction,
      user: text(user),
      room: text(room),
      invite: text(invite),
      before: smallOf(before),
      after: smallOf(after),
    },
    head: text(head),
  };
}

/** Values that are not JSON are shown as they are: a verification names their row. */
function smallOf(value: Row[number] | undefined): SmallValues | null {
  if (value === null) return null;
  try {
    return JSON.parse(String(value)) as SmallValues;
  } catch {
    return { unreadable: String(value) };
  }
}
