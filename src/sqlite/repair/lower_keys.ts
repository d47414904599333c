/**
 * Repairs keys that another program wrote in upper-case hex. Lookups find only lower-case keys.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { transaction } from "../file/connect.ts";

/** The columns that hold 32 bytes in hex. */
const COLUMNS: [table: string, columns: string[]][] = [
  ["rooms", ["owner"]],
  ["members", ["endpoint", "kex_pub"]],
  ["room_keys", ["endpoint"]],
  ["users", ["sign_pub", "kex_pub"]],
  ["invites", ["id", "used_by"]],
];

const DIGITS = "[0-9a-fA-F]".repeat(64);

/**
 * Converts keys to lower case in one transaction. Skips keys that are not hex, and keys whose lower-case
 * form is also stored, because only a person can decide which of the two records to keep.
 *
 * @returns The number of keys changed
 */
export function lowerKeys(db: DatabaseSync): number {
  return transaction(db, "BEGIN IMMEDIATE", () => {
    let count = 0;
    for (const [table, columns] of COLUMNS) {
      for (const column of columns) {
        const { changes } = db.prepare(
          `UPDATE OR IGNORE ${table} SET ${column} = lower(${column}) ` +
            `WHERE ${column} <> lower(${column}) AND ${column} GLOB '${DIGITS}' ` +
            `AND length(CAST(${column} AS BLOB)) = 64`,
        ).run();
        count += Number(changes);
      }
    }
    return count;
  });
}
