/**
 * Checks a SQLite file for problems, and repairs those that are safe to repair.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { isStoreError } from "../../core/errors.ts";
import { type FindingOf, recordFindings } from "../../core/checks/findings.ts";
import { counted } from "../../core/text/counted.ts";
import { connect, run, transaction, value } from "../file/connect.ts";
import { toStoreError } from "../file/errors.ts";
import { showMissingColumns } from "../file/older.ts";
import { checkHealth } from "../health.ts";
import { openSqlite } from "../mod.ts";
import { readMoved, showMoved } from "../file/role.ts";
import { SCHEMA_VERSION, schemaVersion } from "../file/schema.ts";
import { storedIn } from "../file/source.ts";

/** The result of one check. */
type FileFinding = FindingOf<"schema" | "moved" | "integrity" | "records" | "keys" | "admin">;

const LACKING = `
SELECT count(DISTINCT m.room_id) FROM members m
JOIN rooms r ON r.id = m.room_id AND r.encrypted = 1
LEFT JOIN room_keys k ON k.room_id = m.room_id AND k.epoch = r.epoch AND k.endpoint = m.endpoint
WHERE k.room_id IS NULL`;

const ADMINS = "SELECT count(*) FROM users WHERE role = 'admin' AND status = 'active'";

/** Options of {@link diagnoseFile}. */
export interface FileDiagnosis {
  /** Aborts the checks. */
  signal: AbortSignal;
  /** Repairs what can be repaired without losing data. Default `false`: only read. */
  repair?: boolean;
}

/**
 * Checks a file: its schema version, every page and reference, whether the records are valid and
 * consistent, members without their room's current key, and that there is an active admin.
 *
 * @returns One finding for each check, or one for each invalid record
 * @throws {StoreError} As `openSqlite`, for a file that is not a control plane
 */
export async function diagnoseFile(
  path: string,
  { signal, repair = false }: FileDiagnosis,
): Promise<FileFinding[]> {
  // Opened as a store first, which reports problems of the file as a whole.
  await using _store = openSqlite(path, { readOnly: !repair, create: false });
  const db = connect(path, { busyTimeout: 5000, readOnly: !repair });
  try {
    const version = schemaVersion(db, path);
    showMissingColumns(db);
    const mended = repair ? lowerKeys(db) : 0;
    run(db, "BEGIN");
    return [
      { check: "schema", level: "ok", message: `Schema version ${version} of ${SCHEMA_VERSION}` },
      ...moved(db),
      found("integrity", () => {
        checkHealth(db, path);
        return "Every page, index and reference is valid";
      }),
      ...mendedFinding(mended),
      ...await records(db, path, signal),
      found("keys", () => keys(db)),
      found("admin", () => admin(db)),
    ];
  } catch (error) {
    throw toStoreError(error, `Checking ${path}`);
  } finally {
    db.close();
  }
}

function mendedFinding(count: number): FileFinding[] {
  if (count === 0) return [];
  const message = `${
    counted(count, "key was", "keys were")
  } changed from upper-case to lower-case hex`;
  return [{ check: "records", level: "problem", message, repaired: true }];
}

function found(
  check: FileFinding["check"],
  look: () => string | FileFinding,
): FileFinding {
  try {
    const finding = look();
    return typeof finding === "string" ? { check, level: "ok", message: finding } : finding;
  } catch (error) {
    return damage(check, error);
  }
}

async function records(
  db: DatabaseSync,
  path: string,
  signal: AbortSignal,
): Promise<FileFinding[]> {
  try {
    return await recordFindings(storedIn(db, path), signal);
  } catch (error) {
    return [damage("records", error)];
  }
}

/** Returns damage as a finding; rethrows other errors, such as a locked file. */
function damage(check: FileFinding["check"], error: unknown): FileFinding {
  if (!isStoreError(toStoreError(error, ""), "corrupt")) throw error;
  return { check, level: "problem", message: toStoreError(error, `Checking the ${check}`).message };
}

function moved(db: DatabaseSync): FileFinding[] {
  const to = readMoved(db);
  if (to === null) return [];
  return [{ check: "moved", level: "warning", message: `The file is stale: ${showMoved(to)}` }];
}

function keys(db: DatabaseSync): FileFinding {
  const rooms = Number(value(db, LACKING));
  return rooms === 0
    ? { check: "keys", level: "ok", message: "Every member has the current key of its room" }
    : {
      check: "keys",
      level: "warning",
      message: `In ${counted(rooms, "room")} a member lacks the current key; room show lists them`,
    };
}

function admin(db: DatabaseSync): FileFinding {
  const admins = Number(value(db, ADMINS));
  return admins > 0
    ? {
      check: "admin",
      level: "ok",
      message: counted(admins, "active admin"),
    }
    : {
      check: "admin",
      level: "warning",
      message: "There is no active admin; create an invite with invite create --role admin",
    };
}

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
function lowerKeys(db: DatabaseSync): number {
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
