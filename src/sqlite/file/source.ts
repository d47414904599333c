/**
 * A SQLite file as the source of a migration: locked exclusively, checked, and read fast.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { NO_RIGHTS } from "../../core/hints.ts";
import type { StoredRecords } from "../../core/checks/integrity.ts";
import type { Counts, Kind, StoreRecord } from "../../core/model.ts";
import { type RecordKey, recordKey } from "../../core/order.ts";
import { allRecords, allRows } from "./all_rows.ts";
import { backup } from "./backup.ts";
import { connect, MEMORY, transaction } from "./connect.ts";
import { causeOf, isBusy, isReadOnly, toStoreError } from "./errors.ts";
import {
  absolute,
  exists,
  inspectLeftovers,
  inUse,
  requireHeader,
  requireWritable,
  tooOld,
  tryWriting,
} from "./file.ts";
import { historyIn, type HistoryTable } from "../history/table.ts";
import { checkHealth } from "../health.ts";
import { missing } from "./leftovers.ts";
import { endJourney } from "./journey/journey.ts";
import { showMissingColumns } from "./older.ts";
import { asArrays, countRecords, type Row, type Table, TABLES } from "../rows.ts";
import {
  type FileRole,
  type Place,
  readRole,
  refuseOtherUse,
  setGeneration,
  setRole,
} from "./role.ts";
import { getMeta, migrate, OLDEST_READ, schemaVersion } from "./schema.ts";

/** Options of {@link openSource}. */
export interface SourceOptions {
  /** How long to wait for other connections' locks, milliseconds. Default 500. */
  busyTimeout?: number;
  /** Checks the file's integrity, about a second per million records. Default `true`. */
  check?: boolean;
}

/** A file that is locked exclusively until it is closed. Its records are not changed. */
export interface SqliteSource extends Disposable {
  /** Absolute path. */
  readonly path: string;
  /** Identity of the control plane; its backups have the same. */
  readonly storeId: string;
  /** The file's schema version. */
  readonly schemaVersion: number;
  /** Returns the number of records of each kind. */
  counts(): Counts;
  /**
   * Yields all records in canonical order.
   *
   * @throws {StoreError} `corrupt`: a record cannot be read
   */
  records(): Iterable<StoreRecord>;
  /** The records for validation, including unreadable ones. */
  readonly stored: StoredRecords;
  /** Returns a record by its key (see `recordKey`), or `null`. */
  get(kind: Kind, key: RecordKey): StoreRecord | null;
  /** Returns a value of the `meta` table, or `null`. */
  getMeta(key: string): string | null;
  /** The history; `null` in a file of a version that has none. */
  readonly history: HistoryTable | null;
  /** What the file is. */
  readonly role: FileRole;
  /** Stores where the control plane has moved and its generation there, durably. */
  setMoved(moved: Place, generation: number): void;
  /**
   * Copies the database to a new file and syncs it to disk.
   *
   * @throws {StoreError} `refused`: the file exists
   */
  backupTo(path: string): Promise<void>;
  /** Closes the file and releases the lock. */
  close(): void;
}

/**
 * Opens and locks an existing file for a migration. No other connection may have it open, not even an
 * idle one or one of this process, and none can open it until it is closed.
 *
 * @throws {StoreError} `not_found`; `refused`: in use, read-only, or another program's file;
 * `unsupported`: its schema is newer, or too old; `corrupt`
 */
export function openSource(path: string, options: SourceOptions = {}): SqliteSource {
  const file = absolute(path);
  const error = file !== MEMORY && exists(file) ? null : missing(file, false);
  if (error !== null) throw error;
  const { busyTimeout = 500, check = true } = options;
  let db: DatabaseSync | null = null;
  try {
    requireHeader(file);
    inspectLeftovers(file, { busyTimeout });
    try {
      requireWritable(file);
    } catch (error) {
      throw notOurs(file, error);
    }
    db = connect(file, { busyTimeout, exclusive: true });
    const version = schemaVersion(db, file);
    if (version < OLDEST_READ) throw tooOld(file, version);
    showMissingColumns(db);
    refuseOtherUse(db, file, { allowMoved: true });
    // The first access has locked a file in WAL mode; this locks others, such as a backup that was
    // never opened for writing.
    tryWriting(db, "BEGIN EXCLUSIVE");
    if (check) checkHealth(db, file);
    return source(db, file, version);
  } catch (error) {
    db?.close();
    if (isBusy(causeOf(error))) throw inUse(file, error);
    if (isReadOnly(causeOf(error))) throw notOurs(file, error);
    throw toStoreError(error, `Opening ${file}`);
  }
}

function notOurs(path: string, error: unknown): StoreError {
  return new StoreError(
    "refused",
    `Opening ${path}: it is read-only and cannot be locked`,
    { cause: causeOf(error), hint: `migrate a copy of it, or ${NO_RIGHTS}` },
  );
}

function source(db: DatabaseSync, path: string, version: number): SqliteSource {
  const storeId = storeIdOf(db, path);
  const get = pointReader(db);
  const attempt = `Reading ${path}`;
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw toStoreError(error, attempt);
    }
  };
  const close = () => {
    if (db.isOpen) db.close();
  };
  return {
    path,
    storeId,
    schemaVersion: version,
    counts: () => guarded(() => countRecords(db)),
    *records() {
      try {
        yield* allRecords(db);
      } catch (error) {
        throw toStoreError(error, attempt);
      }
    },
    stored: storedIn(db, path),
    get: (kind, key) => guarded(() => get(kind, key)),
    getMeta: (key) => guarded(() => getMeta(db, key)),
    history: historyIn(db),
    get role() {
      return guarded(() => readRole(db));
    },
    setMoved: (moved, generation) =>
      guarded(() => {
        migrate(db, path, moved);
        transaction(db, "BEGIN IMMEDIATE", () => {
          endJourney(db);
          setRole(db, "moved", moved);
          setGeneration(db, generation);
        });
      }),
    backupTo: (to) => backup(db, path, to),
    close,
    [Symbol.dispose]: close,
  };
}

/** Returns the records of a database for validation. It must not change in the meantime. */
export function storedIn(db: DatabaseSync, path: string): StoredRecords {
  const get = pointReader(db);
  const attempt = `Reading ${path}`;
  return {
    *all() {
      try {
        yield* allRows(db);
      } catch (error) {
        throw toStoreError(error, attempt);
      }
    },
    has: (record) => get(record.kind, recordKey(record)) !== null,
  };
}

/**
 * Returns the identity of the control plane.
 *
 * @throws {StoreError} `corrupt`: the file has none
 */
export function storeIdOf(db: DatabaseSync, path: string): string {
  const id = getMeta(db, "store_id");
  if (id === null) throw new StoreError("corrupt", `Opening ${path}: it has no store_id`);
  return id;
}

/** Returns a function that reads records by their keys. */
export function pointReader(db: DatabaseSync): SqliteSource["get"] {
  const statements = Object.fromEntries(
    Object.entries(TABLES).map(([kind, { columns, key }]) => [
      kind,
      asArrays(
        db.prepare(
          `SELECT ${columns} FROM ${kind} WHERE ` +
            key.split(", ").map((column) => `${column} = ?`).join(" AND "),
        ),
      ),
    ]),
  );
  return (kind, [text, epoch, rest]) => {
    const values = kind === "room_keys"
      ? [text, epoch, rest]
      : kind === "members"
      ? [text, rest]
      : [text];
    const row = statements[kind]!.get(...values) as unknown as Row | undefined;
    if (row === undefined) return null;
    return { kind, record: (TABLES[kind] as Table).fromRow(row) } as StoreRecord;
  };
}
