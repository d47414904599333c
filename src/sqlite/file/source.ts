/**
 * An SQLite file as the source of a move: held so that nobody else can use it, checked, read fast.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { NO_RIGHTS } from "../../core/hints.ts";
import type { StoredRecords } from "../../core/checks/integrity.ts";
import type { Counts, Kind, StoreRecord } from "../../core/model.ts";
import { keyOf, type RecordKey } from "../../core/order.ts";
import { allRecords, allRows } from "./all_rows.ts";
import { backup } from "./backup.ts";
import { connect, MEMORY } from "./connect.ts";
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
import { checkHealth } from "../health.ts";
import { missing } from "./leftovers.ts";
import { asArrays, countRecords, type Row, type Table, TABLES } from "../rows.ts";
import { type Place, readMoved, refuseOtherUse, setRole } from "./role.ts";
import { getMeta, migrate, OLDEST_READ, schemaVersion } from "./schema.ts";

/** How {@link openSource} opens. */
export interface SourceOptions {
  /** How long to wait for somebody who is just finishing, milliseconds. Default 500. */
  busyTimeout?: number;
  /** Check that the file is whole, about a second per million records. Default `true`. */
  check?: boolean;
}

/** A file that is ours alone until it is closed. Its records are not changed. */
export interface SqliteSource extends Disposable {
  /** Absolute path. */
  readonly path: string;
  /** Identity of the control plane; its backups have the same. */
  readonly storeId: string;
  /** The file's schema version. */
  readonly schemaVersion: number;
  /** How many records of each kind there are. */
  counts(): Counts;
  /** All records in canonical order, one in memory at a time; `corrupt` for one that cannot be read. */
  records(): Iterable<StoreRecord>;
  /** What is stored as it is stored, to be checked. */
  readonly stored: StoredRecords;
  /** One record by its key as `keyOf` gives it, `null` when there is none. */
  get(kind: Kind, key: RecordKey): StoreRecord | null;
  /** A value of the `meta` table, `null` when there is none. */
  getMeta(key: string): string | null;
  /** Where the control plane went, `null` where it is here. */
  getMoved(): Place | null;
  /** Notes where the control plane went; it is on disk when this returns. */
  setMoved(moved: Place): void;
  /** Writes a compact copy to a new file and syncs it to disk. `refused` when there is one. */
  backupTo(path: string): Promise<void>;
  /** Lets others in again. */
  close(): void;
}

/**
 * Opens an existing file for a move. Any other connection to it is noticed, also an idle one and one
 * of this process, and none can be made until it is closed.
 *
 * `not_found`; `refused` (in use, another program's, read-only), `unsupported` (newer, or older and
 * to be brought up to date first), `corrupt`.
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
    refuseOtherUse(db, file, { readOnly: true });
    // The first access has locked out everybody on a file in WAL mode; this does on others, such as
    // a backup that was never opened for writing.
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
    `Opening ${path}: it is read-only, so nobody can be kept from using it; move a copy of it`,
    { cause: causeOf(error), hint: NO_RIGHTS },
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
    getMoved: () => guarded(() => readMoved(db)),
    setMoved: (moved) =>
      guarded(() => {
        migrate(db, path, moved);
        setRole(db, "moved", moved);
      }),
    backupTo: (to) => backup(db, path, to),
    close,
    [Symbol.dispose]: close,
  };
}

/** What a database holds as it holds it. It must not change meanwhile. */
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
    has: (it) => get(it.kind, keyOf(it)) !== null,
  };
}

/** The control plane's identity; `corrupt` when the file has lost it. */
export function storeIdOf(db: DatabaseSync, path: string): string {
  const id = getMeta(db, "store_id");
  if (id === null) throw new StoreError("corrupt", `Opening ${path}: it has no store_id`);
  return id;
}

function pointReader(db: DatabaseSync): SqliteSource["get"] {
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
