/**
 * Whether a database is whole, and whether it can be used.
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
 * Reads every page and row: structure, order, indexes, constraints, references. About a second
 * per million records. Throws `corrupt` with the first thing found.
 */
export function checkHealth(db: DatabaseSync, path: string): void {
  for (const row of db.prepare("PRAGMA integrity_check(1)").all()) {
    const found = String(row.integrity_check);
    if (found !== "ok") throw new StoreError("corrupt", `Checking ${path}: ${oneLine(found)}`);
  }
  for (const row of db.prepare("PRAGMA foreign_key_check").iterate()) {
    throw new StoreError(
      "corrupt",
      `Checking ${path}: a row of ${row.table} refers to one of ${row.parent} that is not there`,
    );
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, "; ");
}

/** What tells a file from another of the same name; nothing for a database in memory. */
export function fileIdentity(path: string): string {
  if (path === MEMORY) return "";
  const { dev, ino } = statSync(path);
  return `${dev}/${ino}`;
}

/** How the database was opened. */
export interface OpenedAs {
  /** Its file's identity then. */
  identity: string;
  /** How long to wait for other connections' locks, milliseconds. */
  busyTimeout: number;
  /** Opened for reading only. */
  readOnly: boolean;
}

/** Whether the open file answers a read and takes a write; waits for nobody, changes nothing. */
export function checkUse(db: DatabaseSync, path: string, as: OpenedAs): HealthCheck[] {
  return [
    look("file", () => {
      // Removed or replaced under us it still answers: what is written then is lost.
      if (fileIdentity(path) !== as.identity) {
        throw new StoreError("unavailable", `${path} is not the file that was opened`);
      }
      db.prepare("SELECT 1 FROM users LIMIT 1").get();
      return `${path} answers, schema version ${schemaVersion(db, path)}`;
    }),
    look("writable", () => {
      if (as.readOnly) throw new StoreError("refused", `${path} was opened for reading only`);
      probeWritable(db, path, as.busyTimeout);
      return `${path} takes writes`;
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
