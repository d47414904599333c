/**
 * The history of a bucket with a follower: pages come from the follower's file when that has all entries.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import { StoreError } from "../../core/errors.ts";
import type { HistoryEntry } from "../../core/history/entry.ts";
import {
  compareRevisions,
  formatRevision,
  parseRevision,
  type Revision,
} from "../../core/history/revision.ts";
import {
  type ChainEnd,
  type HistoryRange,
  type HistorySource,
  requireKept,
  type StoredEntry,
} from "../../core/history/source.ts";
import type { BucketHistory } from "../../jetstream/history/source.ts";
import { wait } from "../../jetstream/log/wire.ts";
import { queryOf } from "../../sqlite/history/source.ts";
import { COLUMNS, storedOf } from "../../sqlite/history/table.ts";
import type { Row } from "../../sqlite/rows.ts";
import { openReader } from "../../sqlite/search/mod.ts";
import type { Asked } from "../../sqlite/search/sql.ts";

/** Pauses before the file is asked again whether it has all entries, milliseconds. */
const PAUSES = [0, 5, 20, 80, 200];
/** Entries that are compared at a time. */
const STEP = 500;

const STATE: Asked = {
  sql: `SELECT alarm, (SELECT value FROM meta WHERE key = 'follower_history_origin'),
    (SELECT generation || '.' || number FROM history_cut) FROM follower`,
  values: [],
};
const END = "SELECT generation || '.' || number, lower(hex(head)) FROM";
/** The end of the chain: that of the rows, or without one that of the cut. */
const ENDS: Asked[] = [
  { sql: `${END} history ORDER BY generation DESC, number DESC LIMIT 1`, values: [] },
  { sql: `${END} history_cut`, values: [] },
];

/** Where entries are read. */
export interface FollowerHistoryOptions {
  /** The follower's file. */
  path: string;
  /** The history as the bucket has it. */
  archive: BucketHistory;
  /** Whether the file may be read: it is not damaged. */
  isUsable: () => boolean;
}

/** Reads the history of a bucket from a follower's file, where that has it. */
export class FollowerHistory implements HistorySource {
  readonly #options: FollowerHistoryOptions;
  readonly #archive: BucketHistory;
  #thread: ReturnType<typeof openReader> | null = null;
  #closed = false;

  constructor(options: FollowerHistoryOptions) {
    this.#options = options;
    this.#archive = options.archive;
  }

  /** Closes the file; what is asked then comes from the bucket. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.rest();
  }

  /** Closes the file until the next question. */
  async rest(): Promise<void> {
    await this.#thread?.close();
  }

  async page(range: HistoryRange): Promise<HistoryEntry[]> {
    const found = await this.#read([queryOf(range)]);
    if (found === null) return await this.#archive.page(range);
    if (!range.newest) requireKept(range.after, found.cut);
    return found.rows[0]!.map((row) => storedOf(row).entry);
  }

  follow: HistorySource["follow"] = (...args) => this.#archive.follow(...args);

  async head(): Promise<ChainEnd> {
    const [last] = (await this.#read(ENDS))?.rows.flat() ?? [];
    if (last === undefined) return await this.#archive.head();
    return { revision: String(last[0]), head: String(last[1]) };
  }

  start: HistorySource["start"] = () => this.#archive.start();

  /** Iterates over the entries of the bucket, with the heads of the file, which must have the same entries. */
  async *walk(after: Revision | null, signal?: AbortSignal): AsyncGenerator<StoredEntry> {
    let last = after;
    let some: HistoryEntry[] = [];
    for await (const { entry } of this.#archive.walk(after, signal)) {
      some.push(entry);
      if (some.length < STEP) continue;
      yield* await this.#compared(last, some);
      last = parseRevision("revision", entry.revision);
      some = [];
    }
    if (!signal?.aborted) yield* await this.#compared(last, some);
  }

  prune: HistorySource["prune"] = (...args) => this.#archive.prune(...args);
  heads: HistorySource["heads"] = () => this.#archive.heads();
  sign: HistorySource["sign"] = (head) => this.#archive.sign(head);
  check: HistorySource["check"] = (signal) => this.#archive.check(signal);

  /** Gives entries that follow each other in the bucket the heads that the file has. */
  async #compared(after: Revision | null, entries: HistoryEntry[]): Promise<StoredEntry[]> {
    const unknown = () => entries.map((entry): StoredEntry => ({ entry, head: null }));
    if (entries.length === 0) return [];
    const from = after ?? { generation: 0, number: 0 };
    const to = parseRevision("revision", entries.at(-1)!.revision);
    const found = await this.#read([{
      sql: `SELECT ${COLUMNS} FROM history WHERE (generation, number) > (?, ?)
        AND (generation, number) <= (?, ?) ORDER BY generation, number`,
      values: [from.generation, from.number, to.generation, to.number],
    }]);
    if (found === null) return unknown();
    const rows = found.rows[0]!.map(storedOf);
    // Pruned since the first of them were read.
    if (found.cut !== null && compareRevisions(found.cut, from) > 0) return unknown();
    for (const [i, entry] of entries.entries()) {
      const row = rows[i];
      if (row === undefined || !isDeepStrictEqual(row.entry, entry)) this.#differs(entry, row);
    }
    if (rows.length > entries.length) this.#differs(undefined, rows[entries.length]);
    return rows;
  }

  #differs(entry: HistoryEntry | undefined, row: StoredEntry | undefined): never {
    const [ours, theirs] = [row?.entry.revision, entry?.revision]
      .map((it) => it === undefined ? null : parseRevision("revision", it));
    const first = ours === null || (theirs !== null && compareRevisions(theirs!, ours!) < 0)
      ? theirs!
      : ours!;
    throw new StoreError(
      "corrupt",
      `Reading the history: entry ${formatRevision(first)} of the bucket is not that of the ` +
        `follower ${this.#options.path}`,
      { field: "history" },
    );
  }

  /** Reads the file as of one moment when it has all entries; `null` where it does not. */
  async #read(asked: Asked[]): Promise<{ cut: Revision | null; rows: Row[][] } | null> {
    const { path, isUsable } = this.#options;
    const newest = await this.#archive.newest();
    for (const pause of PAUSES) {
      await wait(pause);
      if (this.#closed || !isUsable()) return null;
      try {
        if (!this.#thread?.isOpen) {
          this.#thread = openReader(path, `Reading the history in ${path}`);
        }
        const [[state], ...rows] = await this.#thread.ask("ask", [STATE, ...asked]) as [
          Row[],
          ...Row[][],
        ];
        const [alarm = null, origin = null, cut = null] = state ?? [];
        if (alarm !== null) return null;
        if (origin === null || Number(origin) < newest) continue;
        return { cut: cut === null ? null : parseRevision("cut", cut), rows };
      } catch {
        // A repair has it for itself, or it is damaged: the bucket has all.
        return null;
      }
    }
    return null;
  }
}
