/**
 * Sorts the bucket's entries outside memory: an unnamed temporary SQLite database, which spills to a
 * file that is deleted already and is gone when closed.
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

/** One entry of the bucket. */
export interface SpoolEntry {
  /** The key. */
  key: string;
  /** The value. */
  value: Uint8Array;
}

// Two spellings of an id have one place, so the key is a part of it.
const AT = "rank = ? AND a = ? AND n = ? AND b = ? AND i = ? AND key = ?";

/** Entries in canonical order, the later replacing the earlier. */
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

  /** Takes a message of the bucket in: a value, or no bytes for a delete marker. */
  take(key: string, data: Uint8Array): void {
    const place = placeOf(key);
    try {
      if (data.length === 0) this.#remove.run(...place, key);
      else this.#put.run(...place, key, data);
    } catch (cause) {
      throw failed(cause);
    }
  }

  /** Takes a record in. */
  add(it: StoreRecord): void {
    const [key, value] = entriesOf(it)[0]!;
    this.take(key, this.#encoder.encode(value));
  }

  /** Whether there is an entry of this key. */
  has(key: string): boolean {
    return this.#find.get(...placeOf(key), key) !== undefined;
  }

  /** All entries in canonical order. */
  entries(): IterableIterator<SpoolEntry> {
    const all = this.#db.prepare("SELECT key, value FROM spool ORDER BY rank, a, n, b, i, key");
    return all.iterate() as unknown as IterableIterator<SpoolEntry>;
  }

  /** The records in canonical order. */
  *records(): Generator<StoreRecord> {
    for (const { key, value } of this.entries()) {
      const parsed = parseKey(key);
      const it = parsed && decodeRecord(key, parsed, value);
      if (it !== null) yield it;
    }
  }

  /** Frees it. */
  [Symbol.dispose](): void {
    this.#db.close();
    this.#removeFile();
  }
}

/** Opens an empty database, and gives what removes it once it is closed. */
function openTemporary(): { db: DatabaseSync; remove: () => void } {
  try {
    return { db: new DatabaseSync(""), remove: () => {} };
  } catch {
    // Deno opens a database without a path only with --allow-all.
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
