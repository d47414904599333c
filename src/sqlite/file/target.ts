/**
 * A new SQLite file that is filled fast, by `migrate-to-sqlite`.
 *
 * @module
 */

import { rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import type { Counts, StoreRecord } from "../../core/model.ts";
import { noCounts } from "../../core/order.ts";
import { MEMORY, rollback, run, transaction, value } from "./connect.ts";
import { toCallersError, toStoreError } from "./errors.ts";
import { absolute, makeFile, openDatabase } from "./file.ts";
import { countRecords, inserter } from "../rows.ts";
import { HistoryTable } from "../history/table.ts";
import { setGeneration } from "./role.ts";
import { getMeta, liftChecks, setMeta } from "./schema.ts";
import { storeIdOf } from "./source.ts";

/** Options of {@link createTarget}. */
export interface TargetOptions {
  /** Identity of the control plane. Default: a new one. */
  storeId?: string;
  /** The generation of the control plane. Default 0. */
  generation?: number;
}

/** A new file that is locked exclusively until it is closed. */
export interface SqliteTarget extends Disposable {
  /** Absolute path. */
  readonly path: string;
  /** Identity of the control plane. */
  readonly storeId: string;
  /**
   * Inserts records in one transaction. They must be valid and in canonical order.
   */
  insertAll(records: Iterable<StoreRecord> | AsyncIterable<StoreRecord>): Promise<Counts>;
  /** Does the same synchronously. */
  insertAllSync(records: Iterable<StoreRecord>): Counts;
  /** Returns the number of records of each kind. */
  counts(): Counts;
  /** The history, which is empty. */
  readonly history: HistoryTable;
  /** Runs work in one transaction. */
  transact<T>(work: () => T): T;
  /** Returns a value of the `meta` table, or `null`. */
  getMeta(key: string): string | null;
  /** Sets a value of the `meta` table, or removes it with `null`. */
  setMeta(key: string, value: string | null): void;
  /** Writes everything to the one file, syncs it and closes it; then it can be renamed. Disposing only closes. */
  close(): void;
}

/**
 * Creates a new file with the current schema.
 *
 * @throws {StoreError} `refused`: the file exists
 */
export function createTarget(path: string, options: TargetOptions = {}): SqliteTarget {
  const file = absolute(path);
  const attempt = `Writing ${file}`;
  if (file === MEMORY || !makeFile(file)) {
    throw new StoreError("refused", `Creating ${file}: the file already exists`);
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
  // Does not throw: the error that made the work fail is the one to report.
  const dispose = () => {
    if (db.isOpen) db.close();
  };
  return {
    path: file,
    storeId: guarded(() => storeIdOf(db, file)),
    async insertAll(records) {
      const insertion = guarded(() => beginInsertion(db));
      try {
        for await (const record of records) insertion.insert(record);
        return insertion.commit();
      } catch (error) {
        rollback(db);
        throw toCallersError(error, attempt);
      }
    },
    insertAllSync(records) {
      const insertion = guarded(() => beginInsertion(db));
      try {
        for (const record of records) insertion.insert(record);
        return insertion.commit();
      } catch (error) {
        rollback(db);
        throw toCallersError(error, attempt);
      }
    },
    counts: () => guarded(() => countRecords(db)),
    history: new HistoryTable(db),
    transact: (work) => guarded(() => transaction(db, "BEGIN IMMEDIATE", work)),
    getMeta: (key) => guarded(() => getMeta(db, key)),
    setMeta: (key, value) => guarded(() => setMeta(db, key, value)),
    close,
    [Symbol.dispose]: dispose,
  };
}

function openNew(file: string, options: TargetOptions): DatabaseSync {
  const { storeId, generation = 0 } = options;
  try {
    const { db } = openDatabase(file, {
      busyTimeout: 500,
      create: true,
      exclusive: true,
      cacheKiB: 32 * 1024,
      at: new Date().toISOString(),
      onNew: (db) => setGeneration(db, generation),
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
    insert(record: StoreRecord): void {
      insert(record);
      counts[record.kind]++;
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
    // Moves the log into the file. Closing would do it too, but would not report an error.
    if (!db.isTransaction) value(db, "PRAGMA wal_checkpoint(TRUNCATE)");
  } finally {
    db.close();
  }
}
