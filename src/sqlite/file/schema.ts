/**
 * The owner and schema version of a file, and its migrations.
 *
 * @module
 */

import { createHash, randomUUID } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { MIGRATIONS } from "../../../migrations/mod.ts";
import { StoreError } from "../../core/errors.ts";
import { NEWER } from "../../core/hints.ts";
import { KINDS } from "../../core/model.ts";
import { counted } from "../../core/text/counted.ts";
import { run, transaction, value } from "./connect.ts";

/** `PRAGMA application_id` of our files: "UBUS". */
export const APPLICATION_ID = 0x55425553;

/** The schema version this code reads and writes. */
export const SCHEMA_VERSION: number = MIGRATIONS.length;
/** The oldest version whose records this code reads without bringing the file up to date. */
export const OLDEST_READ = 5;

// Records the applied migrations. Must never change: older programs read it in newer files.
const LEDGER = `
CREATE TABLE schema_migrations (
  version    INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  checksum   TEXT NOT NULL,
  applied_at TEXT NOT NULL
) STRICT;

CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`;

function checksum(sql: string): string {
  return createHash("sha256").update(sql).digest("hex");
}

/**
 * Returns the schema version of a database; 0 if it is empty.
 *
 * @throws {StoreError} `refused`: another program's file; `unsupported`: a newer version; `corrupt`
 */
export function schemaVersion(db: DatabaseSync, path: string): number {
  return db.isTransaction
    ? readVersion(db, path)
    : transaction(db, "BEGIN", () => readVersion(db, path));
}

function readVersion(db: DatabaseSync, path: string): number {
  const owner = Number(value(db, "PRAGMA application_id"));
  if (owner !== APPLICATION_ID) {
    if (owner === 0 && value(db, "SELECT count(*) FROM sqlite_schema") === 0) return 0;
    const id = `0x${(owner >>> 0).toString(16).padStart(8, "0")}`;
    throw new StoreError(
      "refused",
      `Opening ${path}: it is another program's SQLite file (application id ${id}), not a control plane`,
      { field: "path" },
    );
  }
  const version = Number(value(db, "PRAGMA user_version"));
  if (version > SCHEMA_VERSION) {
    throw new StoreError(
      "unsupported",
      `Opening ${path}: its schema version is ${version}, this program supports versions up to ` +
        `${SCHEMA_VERSION}`,
      { hint: NEWER },
    );
  }
  const applied = db.prepare("SELECT version, checksum FROM schema_migrations ORDER BY version")
    .all();
  for (const [i, step] of applied.entries()) {
    const ours = MIGRATIONS[i];
    if (!ours || ours.version !== step.version || checksum(ours.sql) !== step.checksum) {
      throw new StoreError(
        "refused",
        `Opening ${path}: its migration ${step.version} is not the one of this program`,
      );
    }
  }
  if (applied.length !== version) {
    throw new StoreError(
      "corrupt",
      `Opening ${path}: its schema version is ${version}, but it records ${
        counted(applied.length, "migration")
      }`,
    );
  }
  return version;
}

/** What is recorded in a new file. */
export interface NewFile {
  /** Identity of the control plane. Default: a new one. */
  storeId?: string;
  /** Time of the migrations, ISO 8601. */
  at: string;
  /** Called in the transaction that makes the file. */
  onNew?: (db: DatabaseSync) => void;
}

/**
 * Applies missing migrations, all or none. Safe if other processes do the same concurrently.
 *
 * @returns Whether the database was empty
 */
export function migrate(db: DatabaseSync, path: string, file: NewFile): boolean {
  if (schemaVersion(db, path) === SCHEMA_VERSION) return false;
  return transaction(db, "BEGIN IMMEDIATE", () => {
    const version = schemaVersion(db, path);
    if (version === 0) {
      run(db, `PRAGMA application_id = ${APPLICATION_ID}`);
      db.exec(LEDGER);
      setMeta(db, "store_id", file.storeId ?? randomUUID());
    }
    // What was read before it was brought up to date has views in their place.
    for (const kind of KINDS) run(db, `DROP VIEW IF EXISTS temp.${kind}`);
    const record = db.prepare("INSERT INTO schema_migrations VALUES (?, ?, ?, ?)");
    for (const step of MIGRATIONS.slice(version)) {
      db.exec(step.sql);
      record.run(step.version, step.name, checksum(step.sql), file.at);
    }
    run(db, `PRAGMA user_version = ${SCHEMA_VERSION}`);
    if (version === 0) file.onNew?.(db);
    return version === 0;
  });
}

/** Returns a value of the `meta` table, or `null`. */
export function getMeta(db: DatabaseSync, key: string): string | null {
  const row = db.prepare("SELECT value FROM meta WHERE key = ?").get(key);
  return row === undefined ? null : String(row.value);
}

/** Sets a value of the `meta` table, or removes it with `null`. */
export function setMeta(db: DatabaseSync, key: string, value: string | null): void {
  if (value === null) db.prepare("DELETE FROM meta WHERE key = ?").run(key);
  else db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(key, value);
}

/**
 * Drops the triggers that validate inserted records or note users' names, the indexes, and the content of
 * the index of names: each doubles the time to insert many records that were already validated. Call it
 * in a transaction, so that other connections never see the file without them.
 *
 * @returns A function that creates them again; call it before the transaction is committed
 */
export function liftChecks(db: DatabaseSync): () => void {
  const lifted = db.prepare(`SELECT type, name, sql FROM sqlite_schema
    WHERE type = 'trigger' AND (name GLOB '*_valid_insert' OR name GLOB 'users_named_*')
      OR type = 'index' AND sql IS NOT NULL`)
    .all();
  run(db, "UPDATE user_names_state SET upto = ''");
  for (const { type, name } of lifted) run(db, `DROP ${type} ${name}`);
  return () => {
    for (const { sql } of lifted) run(db, String(sql));
  };
}

/** Drops all triggers that check records, for a file that only a follower writes. */
export function dropChecks(db: DatabaseSync): void {
  const triggers = db.prepare(
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '*_valid_*'",
  ).all();
  for (const { name } of triggers) run(db, `DROP TRIGGER ${name}`);
}

/** Makes the triggers again that {@link dropChecks} dropped. */
export function createChecks(db: DatabaseSync): void {
  db.exec(MIGRATIONS.find(({ name }) => name === "record_checks")!.sql);
}
