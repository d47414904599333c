/**
 * Opens or creates a database file. Files of other programs are refused unchanged.
 *
 * @module
 */

import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readSync,
  statSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { NO_RIGHTS } from "../../core/hints.ts";
import { systemCode } from "../../core/host/system_code.ts";
import {
  connect,
  type ConnectOptions,
  enableWal,
  MEMORY,
  rollback,
  run,
  transaction,
  value,
} from "./connect.ts";
import { causeOf, isBusy, isReadOnly, toStoreError } from "./errors.ts";
import { missing } from "./leftovers.ts";
import { dropTriggers } from "./journey/triggers.ts";
import { showMissingColumns } from "./older.ts";
import { readRole, refuseOtherUse, type Use } from "./role.ts";
import { migrate, type NewFile, OLDEST_READ, SCHEMA_VERSION, schemaVersion } from "./schema.ts";

/** Options of {@link openDatabase}. */
export interface FileOptions extends ConnectOptions, NewFile, Omit<Use, "readOnly"> {
  /** Creates the file if it does not exist. */
  create: boolean;
  /** Keeps a history. Default `false`. */
  history?: boolean;
}

/** Returns an absolute path, because SQLite does not treat all relative ones (`file:…`) as paths. */
export function absolute(path: unknown): string {
  if (typeof path !== "string" || path === "" || path.includes("\0")) {
    throw new StoreError("invalid", `path must be a file's path or ${MEMORY}`, { field: "path" });
  }
  return path === MEMORY ? path : resolve(path);
}

/** An open database. */
interface Opened {
  db: DatabaseSync;
  /** Whether opening created the control plane in it. */
  created: boolean;
}

/** Opens the database at an absolute path and migrates its schema. */
export function openDatabase(path: string, options: FileOptions): Opened {
  if (path === MEMORY) return ready(connect(path, options), path, options);
  if (!exists(path)) {
    const error = missing(path, options.create && !options.readOnly);
    if (error !== null) throw error;
    makeFile(path);
  }
  requireHeader(path);
  inspectLeftovers(path, { busyTimeout: options.busyTimeout });
  if (!options.readOnly) requireWritable(path);
  try {
    const opened = ready(connect(path, options), path, options);
    if (options.exclusive) holdAlone(opened.db);
    return opened;
  } catch (error) {
    if (options.exclusive && isBusy(causeOf(error))) throw inUse(path, error);
    throw toStoreError(error, `Opening ${path}`);
  }
}

/** Locks out other connections, also for a file that is not in WAL mode yet. */
function holdAlone(db: DatabaseSync): void {
  try {
    tryWriting(db, "BEGIN EXCLUSIVE");
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Returns the error for a file that another connection has open. */
export function inUse(path: string, error: unknown): StoreError {
  return new StoreError(
    "refused",
    `Opening ${path}: it is in use by another process or connection, whose later writes would be lost`,
    { cause: causeOf(error), hint: "stop the server first" },
  );
}

/** Checks and prepares an open database. Reads first, so that another program's file is not changed. */
function ready(db: DatabaseSync, path: string, options: FileOptions): Opened {
  try {
    const version = schemaVersion(db, path);
    if (version > 0) refuseOtherUse(db, path, options);
    if (options.readOnly) {
      if (version < OLDEST_READ) throw tooOld(path, version);
      if (version < SCHEMA_VERSION) showMissingColumns(db);
      return { db, created: false };
    }
    if (path !== MEMORY) {
      // An empty file is not a control plane.
      if (version === 0 && !options.create) throw tooOld(path, version);
      if (version > 0) probeWritable(db, path, options.busyTimeout);
      const mode = enableWal(db, options.busyTimeout);
      if (mode !== "wal") {
        throw new StoreError(
          "unsupported",
          `Opening ${path}: its file system does not support write-ahead logging (journal mode ${mode})`,
        );
      }
      // The WAL file is truncated to this size after a large transaction.
      db.exec(`PRAGMA journal_size_limit = ${16 * 1024 * 1024}`);
    }
    const created = migrate(db, path, options);
    if (options.allowMoved) openMoved(db);
    return { db, created };
  } catch (error) {
    db.close();
    throw toStoreError(error, `Opening ${path}`);
  }
}

/** Lets writers into a file that a live move has closed to them. */
function openMoved(db: DatabaseSync): void {
  transaction(db, "BEGIN IMMEDIATE", () => {
    if (readRole(db).role === "moved") dropTriggers(db, "freeze");
  });
}

/** Returns the error for an empty file (version 0), or one whose schema is too old. */
export function tooOld(path: string, version: number): StoreError {
  if (version === 0) {
    return new StoreError("refused", `Opening ${path}: it is empty, not a control plane`, {
      field: "path",
    });
  }
  return new StoreError(
    "unsupported",
    `Opening ${path}: its schema version is ${version}, this program needs ${SCHEMA_VERSION}`,
    { field: "path", hint: "open it once for writing, which migrates it" },
  );
}

/**
 * Returns whether a file exists.
 *
 * @throws {StoreError} `refused`: the path is a directory or another kind of file
 */
export function exists(path: string): boolean {
  let stat;
  try {
    stat = statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw toStoreError(error, `Opening ${path}`);
  }
  if (stat === undefined) return false;
  if (stat.isFile()) return true;
  throw new StoreError("refused", `Opening ${path}: it is not a file`, { field: "path" });
}

/**
 * Returns the absolute path of a file.
 *
 * @throws {StoreError} `not_found`: there is none
 */
export function requireFile(path: string): string {
  const file = absolute(path);
  const error = exists(file) ? null : missing(file, false);
  if (error !== null) throw error;
  return file;
}

/** Refuses a file that is too short for SQLite, which treats a file of one byte as empty. */
export function requireHeader(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > 0 && size < 100) {
    throw new StoreError("corrupt", `Opening ${path}: ${size} bytes are not a SQLite file`, {
      field: "path",
    });
  }
}

/**
 * Creates an empty file that only its owner can read; returns `false` if the file exists.
 *
 * @throws {StoreError} `not_found`: no such directory, which is not created
 */
export function makeFile(path: string): boolean {
  try {
    closeSync(openSync(path, "wx", 0o600));
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    const directory = dirname(path);
    if (systemCode(error) !== "ENOENT" || existsSync(directory)) {
      throw toStoreError(error, `Creating ${path}`);
    }
    throw new StoreError("not_found", `Creating ${path}: there is no directory ${directory}`, {
      cause: error,
      hint: "check the path; a directory that is missing must be created first",
    });
  }
}

/**
 * Checks that a file is writable, because SQLite would silently open it for reading only.
 *
 * @throws {StoreError} `refused`: it is not
 */
export function requireWritable(path: string): void {
  try {
    accessSync(path, constants.W_OK);
  } catch (error) {
    // Deno may lack the permission, and does not see read-only mounts; then `probeWritable` decides.
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EACCES" || code === "EPERM" || code === "EROFS") throw readOnlyFile(path, error);
  }
}

/**
 * Checks that a connection can write. A lock of another writer does not count.
 *
 * @throws {StoreError} `refused`: the file is read-only
 */
export function probeWritable(db: DatabaseSync, path: string, busyTimeout: number): void {
  db.exec("PRAGMA busy_timeout = 0");
  try {
    tryWriting(db, "BEGIN IMMEDIATE");
  } catch (error) {
    if (!isBusy(error)) throw isReadOnly(error) ? readOnlyFile(path, error) : error;
  } finally {
    db.exec(`PRAGMA busy_timeout = ${busyTimeout}`);
  }
}

/** Starts a transaction with a write that changes nothing, and rolls it back. */
export function tryWriting(db: DatabaseSync, begin: string): void {
  run(db, begin);
  try {
    // A read-only connection fails here, because its BEGIN only reads.
    run(db, `PRAGMA user_version = ${Number(value(db, "PRAGMA user_version"))}`);
  } finally {
    rollback(db);
  }
}

function readOnlyFile(path: string, cause: unknown): StoreError {
  return new StoreError("refused", `Opening ${path} for writing: it is read-only`, {
    cause,
    hint: NO_RIGHTS,
  });
}

/**
 * Checks with a read-only connection whose file it is, if another process is using it or was killed
 * while using it: a writable connection could complete that process's work when it is closed.
 */
export function inspectLeftovers(path: string, options: ConnectOptions): void {
  if (!hasContent(`${path}-wal`) && !hasOlderState(`${path}-journal`)) return;
  const db = connect(path, { ...options, readOnly: true });
  try {
    schemaVersion(db, path);
  } catch (error) {
    throw toStoreError(error, `Opening ${path}`);
  } finally {
    db.close();
  }
}

function hasContent(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/**
 * Returns whether a rollback journal would restore an older state of the file. The journal of a file's
 * first transaction would not: it records that the file was empty (bytes 16 to 19).
 */
function hasOlderState(journal: string): boolean {
  if (!hasContent(journal)) return false;
  const header = new Uint8Array(20);
  let fd;
  try {
    fd = openSync(journal, "r");
    readSync(fd, header);
  } catch {
    return false; // The other process has just removed it.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  return header.subarray(16).some((byte) => byte !== 0);
}
