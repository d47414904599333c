/**
 * Opening a database file: finding it or making it, and refusing what is not ours unaltered.
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
  value,
} from "./connect.ts";
import { causeOf, isBusy, isReadOnly, toStoreError } from "./errors.ts";
import { missing } from "./leftovers.ts";
import { refuseOtherUse, type Use } from "./role.ts";
import { migrate, type NewFile, OLDEST_READ, SCHEMA_VERSION, schemaVersion } from "./schema.ts";

/** How a database file is opened. */
export interface FileOptions extends ConnectOptions, NewFile, Omit<Use, "readOnly"> {
  /** Create the file if it is missing. */
  create: boolean;
}

/** An absolute path, as SQLite reads some relative ones (`file:…`) as something else. */
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

/** Opens the database at an absolute path, its schema up to date. */
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

/** Locks out everybody else also on a file that is not in WAL mode yet. */
function holdAlone(db: DatabaseSync): void {
  try {
    tryWriting(db, "BEGIN EXCLUSIVE");
  } catch (error) {
    db.close();
    throw error;
  }
}

/** The error for a file that another connection has open. */
export function inUse(path: string, error: unknown): StoreError {
  return new StoreError(
    "refused",
    `Opening ${path}: it is in use by another process or connection, whose later writes would be ` +
      "lost; stop the server first",
    { cause: causeOf(error) },
  );
}

/** Reads first, so that a file that is not ours is closed without a byte written. */
function ready(db: DatabaseSync, path: string, options: FileOptions): Opened {
  try {
    const version = schemaVersion(db, path);
    if (version > 0) refuseOtherUse(db, path, options);
    if (options.readOnly) {
      if (version < OLDEST_READ) throw tooOld(path, version);
      return { db, created: false };
    }
    if (path !== MEMORY) {
      // An empty file is no control plane either.
      if (version === 0 && !options.create) throw tooOld(path, version);
      if (version > 0) probeWritable(db, path, options.busyTimeout);
      const mode = enableWal(db, options.busyTimeout);
      if (mode !== "wal") {
        throw new StoreError(
          "unsupported",
          `Opening ${path}: its file system cannot do write-ahead logging (journal mode ${mode})`,
        );
      }
      // After a large transaction the log shrinks back to this.
      db.exec(`PRAGMA journal_size_limit = ${16 * 1024 * 1024}`);
    }
    return { db, created: migrate(db, path, options) };
  } catch (error) {
    db.close();
    throw toStoreError(error, `Opening ${path}`);
  }
}

/** The error for a file that holds nothing yet, or whose schema must be brought up to date first. */
export function tooOld(path: string, version: number): StoreError {
  if (version === 0) {
    return new StoreError("refused", `Opening ${path}: it is empty, not a control plane`, {
      field: "path",
    });
  }
  return new StoreError(
    "unsupported",
    `Opening ${path}: its schema version is ${version}, this program needs ` +
      `${SCHEMA_VERSION}; open it once for writing`,
    { field: "path" },
  );
}

/** Whether there is a file at `path`; `refused` for what is no file. */
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

/** Refuses what is too short to be an SQLite file: SQLite takes a file of one byte for an empty one. */
export function requireHeader(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > 0 && size < 100) {
    throw new StoreError("corrupt", `Opening ${path}: ${size} bytes are not an SQLite file`, {
      field: "path",
    });
  }
}

/**
 * Creates an empty file that only its owner can read, unless there is one; another process may be
 * quicker. Tells whether it did.
 *
 * @throws {StoreError} not_found: there is no such directory, which is not created
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

/** `refused` for a file that may not be written: SQLite would open it for reading only. */
export function requireWritable(path: string): void {
  try {
    accessSync(path, constants.W_OK);
  } catch (error) {
    // Deno may not be allowed to look, and knows no read-only mounts; the connection will tell.
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EACCES" || code === "EPERM" || code === "EROFS") throw readOnlyFile(path, error);
  }
}

/**
 * `refused` when the file cannot be written. Asks SQLite, which falls back to reading in silence; a
 * writer at work is no obstacle.
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

/** Begins a transaction and a write that changes nothing, and takes both back. */
export function tryWriting(db: DatabaseSync, begin: string): void {
  run(db, begin);
  try {
    // A connection that may only read fails here; its BEGIN of any kind only reads.
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
 * Where somebody is using the file, or was killed while using it, a connection that may write could
 * finish their work (write the log back on closing). So one that may not looks first.
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
 * Whether a rollback journal would bring back an older state of the file. The journal of a file's
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
    return false; // Its owner has just finished and removed it.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  return header.subarray(16).some((byte) => byte !== 0);
}
