/**
 * A new SQLite file, filled fast: the way back from a cluster, and data sets.
 *
 * @module
 */

import { rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import type { Counts, StoreRecord } from "../../core/model.ts";
import { noCounts } from "../../core/order.ts";
import { MEMORY, rollback, run, value } from "./connect.ts";
import { toCallersError, toStoreError } from "./errors.ts";
import { absolute, makeFile, openDatabase } from "./file.ts";
import { countRecords, inserter } from "../rows.ts";
import { getMeta, liftChecks, setMeta } from "./schema.ts";
import { storeIdOf } from "./source.ts";

/** What {@link createTarget} takes besides the path. */
export interface TargetOptions {
  /** Identity of the control plane. Default: a new one. */
  storeId?: string;
  /** When the file is made, ISO 8601. Default: now. */
  at?: string;
}

/** A new file that nobody else can open until it is closed. */
export interface SqliteTarget extends Disposable {
  /** Absolute path. */
  readonly path: string;
  /** Identity of the control plane. */
  readonly storeId: string;
  /**
   * Inserts records as they come, in one transaction: all or none. They must have been checked, and
   * rooms must come before members and keys, as in canonical order.
   */
  insertAll(records: Iterable<StoreRecord> | AsyncIterable<StoreRecord>): Promise<Counts>;
  /** The same, from records that need no waiting. */
  insertAllSync(records: Iterable<StoreRecord>): Counts;
  /** How many records of each kind there are. */
  counts(): Counts;
  /** A value of the `meta` table, `null` when there is none. */
  getMeta(key: string): string | null;
  /** Sets a value of the `meta` table; `null` removes it. */
  setMeta(key: string, value: string | null): void;
  /** Ends with everything in the one file, on disk; it may be renamed then. Disposing only lets go of it. */
  close(): void;
}

/** Makes a new file with the schema. `refused` when there is a file already. */
export function createTarget(path: string, options: TargetOptions = {}): SqliteTarget {
  const file = absolute(path);
  const attempt = `Writing ${file}`;
  if (file === MEMORY || !makeFile(file)) {
    throw new StoreError("refused", `Creating ${file}: there is a file of that name already`);
  }
  const db = openNew(file, options);
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw toStoreError(error, attempt);
    }
  };
  const close = () => {
    if (db.isOpen) guarded(() => finish(db));
  };
  // What made the work fail is the error to tell; closed before, there is nothing to do.
  const dispose = () => {
    if (db.isOpen) db.close();
  };
  return {
    path: file,
    storeId: guarded(() => storeIdOf(db, file)),
    async insertAll(records) {
      const insertion = guarded(() => beginInsertion(db));
      try {
        for await (const it of records) insertion.insert(it);
        return insertion.commit();
      } catch (error) {
        rollback(db);
        throw toCallersError(error, attempt);
      }
    },
    insertAllSync(records) {
      const insertion = guarded(() => beginInsertion(db));
      try {
        for (const it of records) insertion.insert(it);
        return insertion.commit();
      } catch (error) {
        rollback(db);
        throw toCallersError(error, attempt);
      }
    },
    counts: () => guarded(() => countRecords(db)),
    getMeta: (key) => guarded(() => getMeta(db, key)),
    setMeta: (key, value) => guarded(() => setMeta(db, key, value)),
    close,
    [Symbol.dispose]: dispose,
  };
}

function openNew(file: string, options: TargetOptions): DatabaseSync {
  const { storeId, at = new Date().toISOString() } = options;
  try {
    const { db } = openDatabase(file, {
      busyTimeout: 500,
      create: true,
      exclusive: true,
      cacheKiB: 32 * 1024,
      at,
      ...(storeId === undefined ? {} : { storeId }),
    });
    return db;
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  }
}

function beginInsertion(db: DatabaseSync) {
  run(db, "BEGIN IMMEDIATE");
  const restoreChecks = liftChecks(db);
  const insert = inserter(db);
  const counts = noCounts();
  return {
    insert(it: StoreRecord): void {
      insert(it);
      counts[it.kind]++;
    },
    commit(): Counts {
      restoreChecks();
      run(db, "COMMIT");
      return counts;
    },
  };
}

function finish(db: DatabaseSync): void {
  try {
    // Moves the log into the file; closing would too, but would not tell of an error.
    if (!db.isTransaction) value(db, "PRAGMA wal_checkpoint(TRUNCATE)");
  } finally {
    db.close();
  }
}
