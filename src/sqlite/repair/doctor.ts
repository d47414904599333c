/**
 * Checks a SQLite file, and writes to it only to correct what can be corrected safely.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { isStoreError, type RecordProblem } from "../../core/errors.ts";
import { recordFindings } from "../../core/checks/findings.ts";
import { connect, run, value } from "../file/connect.ts";
import { toStoreError } from "../file/errors.ts";
import { checkHealth } from "../health.ts";
import { lowerKeys } from "./lower_keys.ts";
import { openSqlite } from "../mod.ts";
import { readMoved, showMoved } from "../file/role.ts";
import { SCHEMA_VERSION, schemaVersion } from "../file/schema.ts";
import { storedIn } from "../file/source.ts";

/** One thing that was looked at. */
export interface FileFinding {
  /** What was looked at. */
  check: "schema" | "moved" | "integrity" | "records" | "keys" | "admin";
  /** `problem` wants mending. */
  level: "ok" | "warning" | "problem";
  /** What was found, and what to do. */
  message: string;
  /** The record at fault. */
  record?: RecordProblem;
  /** It was put right. */
  repaired?: boolean;
}

const LACKING = `
SELECT count(DISTINCT m.room_id) FROM members m
JOIN rooms r ON r.id = m.room_id AND r.encrypted = 1
LEFT JOIN room_keys k ON k.room_id = m.room_id AND k.epoch = r.epoch AND k.endpoint = m.endpoint
WHERE k.room_id IS NULL`;

const ADMINS = "SELECT count(*) FROM users WHERE role = 'admin' AND status = 'active'";

/** How {@link diagnoseFile} goes about it. */
export interface FileDiagnosis {
  /** Ends it. */
  signal: AbortSignal;
  /** Correct what can be corrected without losing anything. Default `false`: only read. */
  repair?: boolean;
}

/**
 * Checks a file: schema version, every page and reference, that the records are within their
 * limits and fit together, members without their room's current key, and that there is an admin.
 *
 * @returns One finding a check, or one for each invalid record
 * @throws {StoreError} As `openSqlite` does for what is no control plane
 */
export async function diagnoseFile(
  path: string,
  { signal, repair = false }: FileDiagnosis,
): Promise<FileFinding[]> {
  // Opened as a store first: that tells what is wrong with the file as a whole.
  await using _store = openSqlite(path, { readOnly: !repair, create: false });
  const db = connect(path, { busyTimeout: 5000, readOnly: !repair });
  try {
    const version = schemaVersion(db, path);
    const mended = repair ? lowerKeys(db) : 0;
    run(db, "BEGIN");
    return [
      { check: "schema", level: "ok", message: `Schema version ${version} of ${SCHEMA_VERSION}` },
      ...moved(db),
      found("integrity", () => {
        checkHealth(db, path);
        return "Every page, index and reference is sound";
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
  const message = `${count} keys in upper-case hex were changed to lower case`;
  return [{ check: "records", level: "problem", message, repaired: true }];
}

function found(
  check: FileFinding["check"],
  look: () => string | FileFinding,
): FileFinding {
  try {
    const it = look();
    return typeof it === "string" ? { check, level: "ok", message: it } : it;
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

/** Damage is a finding; that the file cannot be read now is not. */
function damage(check: FileFinding["check"], error: unknown): FileFinding {
  if (!isStoreError(toStoreError(error, ""), "corrupt")) throw error;
  return { check, level: "problem", message: toStoreError(error, `Checking the ${check}`).message };
}

function moved(db: DatabaseSync): FileFinding[] {
  const it = readMoved(db);
  if (it === null) return [];
  return [{ check: "moved", level: "warning", message: `The file is stale: ${showMoved(it)}` }];
}

function keys(db: DatabaseSync): FileFinding {
  const rooms = Number(value(db, LACKING));
  return rooms === 0
    ? { check: "keys", level: "ok", message: "Every member has the current key of its room" }
    : {
      check: "keys",
      level: "warning",
      message: `In ${rooms} rooms somebody lacks the current key; room show says who`,
    };
}

function admin(db: DatabaseSync): FileFinding {
  const admins = Number(value(db, ADMINS));
  return admins > 0
    ? {
      check: "admin",
      level: "ok",
      message: `${admins} active ${admins === 1 ? "admin" : "admins"}`,
    }
    : {
      check: "admin",
      level: "warning",
      message: "There is no active admin; invite create --role admin makes the way for one",
    };
}
