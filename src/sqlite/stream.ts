/**
 * Everything in the store as of one point in time, streamed.
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

/** Ends some work at once; what waits on it gets `closed`. */
export type Ending = () => void;

/** Where longer work happens. */
export interface Place {
  /** The database's path. */
  readonly path: string;
  /** How long to wait for locks, milliseconds. */
  readonly busyTimeout: number;
  /** Whether the store may only read. */
  readonly readOnly: boolean;
  /** The store's own connection where no other can be made: in memory, and to a file held alone. */
  readonly own: DatabaseSync | null;
  /** What to call when the store closes. */
  readonly endings: Set<Ending>;
}

/** Records or rows between two turns of the event loop: SQLite itself never gives it one. */
export const TURN = 2000;

/** Throws `aborted` once the signal says so. */
export function throwIfAborted(signal: AbortSignal | undefined, attempt: string): void {
  if (signal?.aborted) {
    throw new StoreError("aborted", `${attempt}: the caller ended it`, { cause: signal.reason });
  }
}

/**
 * Streams all records in canonical order as they were when the first was asked for. A file is read
 * on a connection of its own, in one transaction, which holds up no writer; memory is copied first.
 */
export async function* streamRecords(
  place: Place,
  signal: AbortSignal | undefined,
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
      const all = allRecords(place.own);
      // Memory has writers while this is read; a file that is held alone has its holder only.
      records = place.path === MEMORY ? [...all] : all;
    } else {
      db = connect(place.path, { busyTimeout: place.busyTimeout, readOnly: true });
      run(db, "BEGIN");
      records = allRecords(db);
    }
    let count = 0;
    for (const it of records) {
      yield it;
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
