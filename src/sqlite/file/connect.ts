/**
 * Opens connections and runs transactions.
 *
 * Database files are opened only through SQLite: closing any other descriptor of a file would release
 * the locks that this process's connections hold on it (POSIX).
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { isBusy, toStoreError } from "./errors.ts";

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** How long to wait for other connections' locks, milliseconds. */
  busyTimeout: number;
  /** Opens the file for reading only. */
  readOnly?: boolean;
  /** Locks out other connections from the first access until it is closed. */
  exclusive?: boolean;
  /** Maximum size of the page cache, KiB. */
  cacheKiB?: number;
}

/** The path of a database in memory, private to its connection. */
export const MEMORY = ":memory:";

/** Opens a connection without writing to the file. Does not validate the path and options. */
export function connect(path: string, options: ConnectOptions): DatabaseSync {
  const { busyTimeout, readOnly = false, cacheKiB = 8192 } = options;
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(path, {
      readOnly,
      timeout: busyTimeout,
      enableForeignKeyConstraints: true,
      enableDoubleQuotedStringLiterals: false,
    });
    // Deno ignores the option for read-only connections.
    db.exec(`PRAGMA busy_timeout = ${busyTimeout}`);
    // Before the first access: a WAL file opened in shared mode stays shared.
    if (options.exclusive) value(db, "PRAGMA locking_mode = EXCLUSIVE");
    db.exec(`PRAGMA synchronous = FULL; PRAGMA cache_size = -${cacheKiB}`);
    return db;
  } catch (error) {
    db?.close();
    throw toStoreError(error, `Opening ${path}`);
  }
}

/**
 * Reads a file that other connections may use.
 *
 * @param attempt What is attempted, for errors
 */
export function readFrom<T>(path: string, attempt: string, read: (db: DatabaseSync) => T): T {
  const db = connect(path, { busyTimeout: 5000, readOnly: true });
  try {
    return read(db);
  } catch (error) {
    throw toStoreError(error, attempt);
  } finally {
    db.close();
  }
}

/** Runs one statement. Prepared, because errors of `exec()` have no code in Deno. */
export function run(db: DatabaseSync, sql: string): void {
  db.prepare(sql).run();
}

/** Returns the single value of a query, or `undefined` if it returns no row. */
export function value(db: DatabaseSync, sql: string): unknown {
  const row = db.prepare(sql).get();
  return row === undefined ? undefined : Object.values(row)[0];
}

/**
 * Runs `work` in a transaction: commits if it returns, rolls back and rethrows if it throws. The
 * connection can be used again afterwards.
 */
export function transaction<T>(db: DatabaseSync, begin: string, work: () => T): T {
  run(db, begin);
  try {
    const result = work();
    run(db, "COMMIT");
    return result;
  } catch (error) {
    rollback(db);
    throw error;
  }
}

/** Rolls back a transaction unless SQLite already has. */
export function rollback(db: DatabaseSync): void {
  try {
    if (db.isOpen && db.isTransaction) run(db, "ROLLBACK");
  } catch {
    // The error that made the transaction fail is the one to report.
  }
}

/**
 * Switches a file to write-ahead logging, in which readers and the writer do not block each other.
 * Waits for locks itself, because SQLite does not always apply its busy timeout here.
 */
export function enableWal(db: DatabaseSync, busyTimeout: number): string {
  const deadline = Date.now() + busyTimeout;
  for (;;) {
    try {
      return String(value(db, "PRAGMA journal_mode = WAL"));
    } catch (error) {
      if (!isBusy(error) || Date.now() >= deadline) throw error;
      pause(10);
    }
  }
}

const idle = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the thread, because opening is synchronous. */
function pause(ms: number): void {
  Atomics.wait(idle, 0, 0, ms);
}
