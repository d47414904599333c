/**
 * Searches in a SQLite file: that of a store, or of a follower.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import type { Kind, RecordOf } from "../../core/model.ts";
import type { Found, RoomQuery, Search, UserQuery } from "../../core/store/search.ts";
import type { Room, User } from "../../core/model.ts";
import { toStoreError } from "../file/errors.ts";
import { showColumns } from "../file/older.ts";
import { answering, FileThread } from "../file/thread.ts";
import { COLUMNS, type Row, type Table, TABLES } from "../rows.ts";
import { fold, indexing } from "./names.ts";
import { type Prepared, roomQuery, userQuery } from "./queries.ts";
import { type Reader, reader } from "./reader.ts";
import type { Asked } from "./sql.ts";

/** What the thread of a search does. */
export type Work = { ask: [Asked[], Row[][]]; close: [undefined, void] };

/** Memory for pages, KiB: enough for the inner nodes of indexes of millions. */
const CACHE_KIB = 16 * 1024;

/** What the thread runs. A search may go over a million rows, so it does not run in this one. */
const SOURCE = `import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
const { path, readOnly, columns } = workerData;
const db = new DatabaseSync(path, { readOnly: true });
db.exec("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -${CACHE_KIB}");
(${showColumns})(db, columns);
const fold = ${fold};
const open = () => {
  const db = new DatabaseSync(path, { timeout: 0 });
  db.exec("PRAGMA synchronous = NORMAL");
  return db;
};
const names = (${indexing})({ db, open, fold });
const read = (${reader})(db, true, fold);
const ask = (all) => {
  const found = read(all);
  if (!readOnly) names.begin();
  return found;
};
const close = () => {
  names.close();
  db.close();
};
(${answering})(parentPort, { ask, close });`;

/** Opens a file in a thread that runs statements in it. */
export function openReader(path: string, attempt: string, readOnly = true): FileThread<Work> {
  return new FileThread<Work>(SOURCE, { path, readOnly, columns: COLUMNS }, attempt);
}

const STATE = { sql: "SELECT position, exact, alarm FROM follower", values: [] };

/** Where to search. */
export interface SearchOptions {
  /** The file. */
  path: string;
  /** The connection to use if no other is possible: in memory, or to a file locked exclusively. */
  own?: DatabaseSync | null;
  /** Whether nothing may be written to the file, as its index of names. */
  readOnly?: boolean;
  /** Whether it is the file of a follower. */
  isFollower?: boolean;
  /** Called before each search; awaited. */
  before?: () => Promise<unknown>;
}

/** Searches in a file. Opens it with the first one. */
export class FileSearch implements Search {
  readonly #options: SearchOptions;
  #thread: FileThread<Work> | null = null;
  #own: Reader | null = null;
  #closed = false;

  constructor(options: SearchOptions) {
    this.#options = { ...options };
  }

  users(query: UserQuery = {}): Promise<Found<User>> {
    return this.#find("users", () => userQuery(query), (it) => {
      return [query.sort === "handle" ? it.handle : it.createdAt, it.signPub];
    });
  }

  rooms(query: RoomQuery = {}): Promise<Found<Room>> {
    const { isFollower = false } = this.#options;
    return this.#find("rooms", () => roomQuery(query, isFollower), (it) => [it.createdAt, it.id]);
  }

  /** Closes the file; `null` if it was not opened. */
  close(): Promise<void> | null {
    this.#closed = true;
    return this.rest();
  }

  /** Closes the file until the next search; `null` if it was not opened. */
  rest(): Promise<void> | null {
    return this.#thread?.close() ?? null;
  }

  async #find<K extends "users" | "rooms">(
    kind: K,
    prepare: () => Prepared,
    placeOf: (it: RecordOf[K]) => [string, string],
  ): Promise<Found<RecordOf[K]>> {
    const { page, count, limit, cursor } = prepare();
    const { isFollower = false, before } = this.#options;
    // What is closed cannot be looked at; the question below says so.
    if (!this.#closed) await before?.();
    const asked: Asked[] = [page];
    if (count !== null) asked.push({ ...count, keeps: true });
    if (isFollower) asked.push(STATE);
    const [rows, ...rest] = await this.#ask(asked) as [Row[], ...Row[][]];
    const { fromRow } = TABLES[kind as Kind] as Table<K>;
    const items = rows.slice(0, limit).map(fromRow);
    const total = count === null ? null : rest.shift()!;
    const state = isFollower ? this.#state(rest.shift()![0]) : {};
    const isLast = rows.length <= limit;
    return {
      items,
      next: isLast ? null : cursor(...placeOf(items.at(-1)!)),
      ...total && { total: Number(total[0]![0]) },
      ...state,
    };
  }

  #state(row: Row | undefined): Pick<Found<unknown>, "position" | "exact"> {
    const attempt = `Searching ${this.#options.path}`;
    if (row === undefined) {
      throw new StoreError("unavailable", `${attempt}: the follower has not loaded the bucket yet`);
    }
    const [position, exact, alarm] = row;
    if (alarm !== null) throw new StoreError("corrupt", `${attempt}: the follower has an alarm`);
    return { position: Number(position), exact: exact === 1 };
  }

  async #ask(asked: Asked[]): Promise<Row[][]> {
    const { path, own = null, readOnly = false } = this.#options;
    const attempt = `Searching ${path}`;
    if (this.#closed) throw new StoreError("closed", `${attempt}: the store is closed`);
    if (own === null) {
      if (!this.#thread?.isOpen) this.#thread = openReader(path, attempt, readOnly);
      return await this.#thread.ask("ask", asked);
    }
    try {
      this.#own ??= reader(own, false, fold);
      return this.#own(asked);
    } catch (error) {
      throw toStoreError(error, attempt);
    }
  }
}
