/**
 * Whether a database is whole.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../errors.ts";

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
