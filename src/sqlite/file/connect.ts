/**
 * Connections: opening one, transactions on one.
 *
 * Nothing here opens a database file except through SQLite: closing any other descriptor of the
 * file would drop the locks that this process's connections hold on it (POSIX).
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { isBusy, toStoreError } from "./errors.ts";

/** How a connection is made. */
export interface ConnectOptions {
  /** How long to wait for other connections' locks, milliseconds. */
  busyTimeout: number;
  /** Open for reading only. */
  readOnly?: boolean;
  /** Let nobody else in from the first access on, until it is closed. */
  exclusive?: boolean;
  /** Most memory for pages, KiB. */
  cacheKiB?: number;
}

/** The path of a database in memory, private to its connection. */
export const MEMORY = ":memory:";

/** Opens a connection; reads the file, writes nothing. Path and options must be checked already. */
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
    // Deno does not pass the option on to connections that only read.
    db.exec(`PRAGMA busy_timeout = ${busyTimeout}`);
    // Must come before the first access: a log opened the shared way stays shared.
    if (options.exclusive) value(db, "PRAGMA locking_mode = EXCLUSIVE");
    db.exec(`PRAGMA synchronous = FULL; PRAGMA cache_size = -${cacheKiB}`);
    return db;
  } catch (error) {
    db?.close();
    throw toStoreError(error, `Opening ${path}`);
  }
}

/** Runs one statement. Prepared, as errors of `exec()` bear no code in Deno. */
export function run(db: DatabaseSync, sql: string): void {
  db.prepare(sql).run();
}

/** The single value a statement gives, `undefined` for no row. */
export function value(db: DatabaseSync, sql: string): unknown {
  const row = db.prepare(sql).get();
  return row === undefined ? undefined : Object.values(row)[0];
}

/**
 * Runs `work` in a transaction: commits when it returns, rolls back when it throws. The connection
 * is usable afterwards either way. Errors pass as they are.
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

/** Ends a transaction without its changes, if SQLite has not done so itself. */
export function rollback(db: DatabaseSync): void {
  try {
    if (db.isOpen && db.isTransaction) run(db, "ROLLBACK");
  } catch {
    // What made the transaction fail is the error to tell.
  }
}

/**
 * Switches a file to write-ahead logging, where readers and the writer do not block each other.
 * SQLite does not always wait for its busy timeout here, so this does.
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

/** Waits without leaving the call: opening is synchronous. */
function pause(ms: number): void {
  Atomics.wait(idle, 0, 0, ms);
}
