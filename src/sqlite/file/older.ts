/**
 * Reads files of older versions, which may not be changed.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { COLUMNS } from "../rows.ts";

/** Shows a connection the columns that its file is too old to have: they are NULL. */
export function showMissingColumns(db: DatabaseSync): void {
  showColumns(db, COLUMNS);
}

/**
 * Hides tables that lack columns behind views of this connection, which have them as NULL. A part of
 * threads: uses nothing from outside of itself.
 */
export function showColumns(
  db: DatabaseSync,
  tables: readonly (readonly [name: string, columns: readonly string[]])[],
): void {
  for (const [name, columns] of tables) {
    const rows = db.prepare("SELECT name FROM pragma_table_info(?, 'main')").all(name);
    const found = new Set(rows.map((it) => it.name));
    const missing = columns.filter((it) => !found.has(it));
    if (found.size === 0 || missing.length === 0) continue;
    const nulls = missing.map((it) => `NULL AS ${it}`).join(", ");
    db.prepare(
      `CREATE TEMP VIEW IF NOT EXISTS ${name} AS SELECT *, ${nulls} FROM main.${name}`,
    ).run();
  }
}
