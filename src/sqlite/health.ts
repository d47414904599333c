/**
 * Integrity and health checks of a database.
 *
 * @module
 */

import { statSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../core/errors.ts";
import type { HealthCheck } from "../core/model.ts";
import { MEMORY } from "./file/connect.ts";
import { toStoreError } from "./file/errors.ts";
import { probeWritable } from "./file/file.ts";
import { schemaVersion } from "./file/schema.ts";

/**
 * Checks every page and row: structure, order, indexes, constraints, references. Takes about a second
 * per million records.
 *
 * @throws {StoreError} `corrupt`: the first problem found
 */
export function checkHealth(db: DatabaseSync, path: string): void {
  const found = damageOf(db);
  if (found !== null) throw new StoreError("corrupt", `Checking ${path}: ${found}`);
}

/** Finds the first problem of {@link checkHealth}. A part of a thread: uses nothing from outside of itself. */
export function damageOf(db: DatabaseSync): string | null {
  for (const row of db.prepare("PRAGMA integrity_check(1)").all()) {
    const found = String(row.integrity_check);
    if (found !== "ok") return found.replaceAll(/\s*\n\s*/g, "; ");
  }
  const [row] = db.prepare("PRAGMA foreign_key_check").iterate();
  return row === undefined
    ? null
    : `a row of ${row.table} refers to a missing row of ${row.parent}`;
}

/** Returns the identity (device and inode) of a file; an empty text for a database in memory. */
export function fileIdentity(path: string): string {
  if (path === MEMORY) return "";
  const { dev, ino } = statSync(path);
  return `${dev}/${ino}`;
}

/** How a database was opened. */
export interface OpenedAs {
  /** The identity of its file at that time. */
  identity: string;
  /** How long to wait for other connections' locks, milliseconds. */
  busyTimeout: number;
  /** Whether it was opened for reading only. */
  readOnly: boolean;
}

/** Checks that the open file can be read and written. Does not wait for locks, and changes nothing. */
export function checkUse(db: DatabaseSync, path: string, as: OpenedAs): HealthCheck[] {
  return [
    look("file", () => {
      // A removed or replaced file can still be read, but writes to it are lost.
      if (fileIdentity(path) !== as.identity) {
        throw new StoreError("unavailable", `${path} is not the file that was opened`);
      }
      db.prepare("SELECT 1 FROM users LIMIT 1").get();
      return `${path} is readable, schema version ${schemaVersion(db, path)}`;
    }),
    look("writable", () => {
      if (as.readOnly) throw new StoreError("refused", `${path} was opened for reading only`);
      probeWritable(db, path, as.busyTimeout);
      return `${path} is writable`;
    }),
  ];

  function look(name: string, read: () => string): HealthCheck {
    try {
      return { name, ok: true, detail: read() };
    } catch (error) {
      return { name, ok: false, detail: toStoreError(error, `Checking ${path}`).message };
    }
  }
}
