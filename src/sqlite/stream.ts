/**
 * Streams all records as of one point in time.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import { StoreError } from "../core/errors.ts";
import type { StoreRecord } from "../core/model.ts";
import { connect, MEMORY, run } from "./file/connect.ts";
import { toStoreError } from "./file/errors.ts";
import { allRecords } from "./file/all_rows.ts";
import { showMissingColumns } from "./file/older.ts";

/** Ends an operation immediately; its caller gets `closed`. */
export type Ending = () => void;

/** What streams and restores need to know about the open database. */
export interface Place {
  /** The database's path. */
  readonly path: string;
  /** How long to wait for locks, milliseconds. */
  readonly busyTimeout: number;
  /** Whether the store was opened for reading only. */
  readonly readOnly: boolean;
  /** The store's connection if no other is possible: in memory, or to a file locked exclusively. */
  readonly own: DatabaseSync | null;
  /** Functions to call when the store closes. */
  readonly endings: Set<Ending>;
}

/** Number of records between two yields to the event loop, because SQLite's calls are synchronous. */
export const TURN = 2000;

/** Throws `aborted` if the signal is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined, attempt: string): void {
  if (signal?.aborted) {
    throw new StoreError("aborted", `${attempt}: it was aborted`, { cause: signal.reason });
  }
}

/**
 * Streams all records in canonical order, as of the time when the first one is read. A file is read on
 * a separate connection in one transaction, which does not block writers; a database in memory is
 * copied first.
 *
 * @param onBegin Called with the connection, which sees what the records are read from
 */
export async function* streamRecords(
  place: Place,
  signal: AbortSignal | undefined,
  onBegin: (db: DatabaseSync) => void = () => {},
): AsyncGenerator<StoreRecord> {
  const attempt = `Reading the records of ${place.path}`;
  throwIfAborted(signal, attempt);
  let ended = false;
  let db: DatabaseSync | null = null;
  const end: Ending = () => {
    ended = true;
    if (db?.isOpen) db.close();
  };
  place.endings.add(end);
  try {
    let records: Iterable<StoreRecord>;
    if (place.own !== null) {
      onBegin(place.own);
      const all = allRecords(place.own);
      // A database in memory may be written while it is read; an exclusively locked file is not.
      records = place.path === MEMORY ? [...all] : all;
    } else {
      db = connect(place.path, { busyTimeout: place.busyTimeout, readOnly: true });
      showMissingColumns(db);
      run(db, "BEGIN");
      onBegin(db);
      records = allRecords(db);
    }
    let count = 0;
    for (const record of records) {
      yield record;
      if (++count % TURN === 0) await setImmediate();
      if (ended) throw new StoreError("closed", `${attempt}: the store is closed`);
      throwIfAborted(signal, attempt);
    }
  } catch (error) {
    throw toStoreError(error, attempt);
  } finally {
    place.endings.delete(end);
    end();
  }
}
