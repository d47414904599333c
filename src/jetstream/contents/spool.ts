/**
 * Sorts the bucket's entries on disk, in an unnamed temporary SQLite database whose file is already
 * deleted and disappears when it is closed.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import type { StoreRecord } from "../../core/model.ts";
import { parseKey, placeOf } from "../records/keys.ts";
import { decodeRecord, entriesOf } from "../records/values.ts";

/** An entry of the bucket. */
export interface SpoolEntry {
  /** The key. */
  key: string;
  /** The value. */
  value: Uint8Array;
}

// Two encodings of an ID have the same position, so the key is part of the condition.
const AT = "rank = ? AND a = ? AND n = ? AND b = ? AND i = ? AND key = ?";

/** Entries in canonical order; later ones replace earlier ones. */
export class Spool implements Disposable {
  readonly #db: DatabaseSync;
  readonly #removeFile: () => void;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #find: StatementSync;
  readonly #encoder = new TextEncoder();

  constructor() {
    const { db, remove } = openTemporary();
    this.#db = db;
    this.#removeFile = remove;
    this.#db.exec(`
      PRAGMA journal_mode = OFF;
      PRAGMA synchronous = OFF;
      PRAGMA cache_size = -32000;
      CREATE TABLE spool (
        rank INTEGER NOT NULL, a TEXT NOT NULL, n INTEGER NOT NULL, b TEXT NOT NULL,
        i INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (rank, a, n, b, i, key)
      ) STRICT, WITHOUT ROWID;
      BEGIN;
    `);
    this.#put = this.#db.prepare("INSERT OR REPLACE INTO spool VALUES (?, ?, ?, ?, ?, ?, ?)");
    this.#remove = this.#db.prepare(
      `DELETE FROM spool WHERE ${AT}`,
    );
    this.#find = this.#db.prepare(`SELECT 1 FROM spool WHERE ${AT}`);
  }

  /** Adds a message of the bucket: a value, or no bytes for a delete marker. */
  take(key: string, data: Uint8Array): void {
    const place = placeOf(key);
    try {
      if (data.length === 0) this.#remove.run(...place, key);
      else this.#put.run(...place, key, data);
    } catch (cause) {
      throw failed(cause);
    }
  }

  /** Adds a record. */
  add(it: StoreRecord): void {
    const [key, value] = entriesOf(it)[0]!;
    this.take(key, this.#encoder.encode(value));
  }

  /** Reports whether there is an entry with this key. */
  has(key: string): boolean {
    return this.#find.get(...placeOf(key), key) !== undefined;
  }

  /** Yields all entries in canonical order. */
  entries(): IterableIterator<SpoolEntry> {
    const all = this.#db.prepare("SELECT key, value FROM spool ORDER BY rank, a, n, b, i, key");
    return all.iterate() as unknown as IterableIterator<SpoolEntry>;
  }

  /** Yields the records in canonical order. */
  *records(): Generator<StoreRecord> {
    for (const { key, value } of this.entries()) {
      const parsed = parseKey(key);
      const record = parsed && decodeRecord(key, parsed, value);
      if (record !== null) yield record;
    }
  }

  /** Closes the database. */
  [Symbol.dispose](): void {
    this.#db.close();
    this.#removeFile();
  }
}

/** Opens an empty database; returns it and a function that removes it after it is closed. */
function openTemporary(): { db: DatabaseSync; remove: () => void } {
  try {
    return { db: new DatabaseSync(""), remove: () => {} };
  } catch {
    // Deno allows a database without a path only with --allow-all.
    const directory = mkdtempSync(join(tmpdir(), "unibus-spool-"));
    const remove = () => rmSync(directory, { recursive: true, force: true });
    return { db: new DatabaseSync(join(directory, "spool.db")), remove };
  }
}

function failed(cause: unknown): StoreError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new StoreError(
    "unavailable",
    `Sorting records in a temporary file: ${text}; make room in the system's temporary directory, ` +
      "or name another with SQLITE_TMPDIR",
    { cause },
  );
}
