/**
 * A file as of one moment, while others write to it.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import type { StoredRecords } from "../../../core/checks/integrity.ts";
import type { Counts, StoreRecord } from "../../../core/model.ts";
import { allRecords } from "../all_rows.ts";
import { connect, run } from "../connect.ts";
import { toStoreError } from "../errors.ts";
import { pointReader, type SqliteSource, storedIn } from "../source.ts";
import { countRecords } from "../../rows.ts";
import { type Note, readNotes } from "./notes.ts";

/** The state of a file at one moment. */
export interface FileSnapshot extends Disposable {
  /** The records. */
  readonly stored: StoredRecords;
  /** The number of records of each kind. */
  readonly counts: Counts;
  /** Reads a record by its key. */
  readonly get: SqliteSource["get"];
  /** The noted changes. */
  readonly notes: Note[];
}

/** Reads a file as of now. Keeps its log from being shortened until it is closed. */
export function snapshotOf(path: string): FileSnapshot {
  const db = open(path);
  try {
    run(db, "BEGIN");
    const counts = countRecords(db);
    return {
      counts,
      stored: storedIn(db, path),
      get: pointReader(db),
      notes: readNotes(db, -1),
      [Symbol.dispose]: () => db.close(),
    };
  } catch (error) {
    db.close();
    throw toStoreError(error, `Reading ${path}`);
  }
}

/** Reads all records page by page, each page as it is then: changes meanwhile may be seen or not. */
export function* presentRecords(path: string): Generator<StoreRecord> {
  const db = open(path);
  try {
    yield* allRecords(db);
  } catch (error) {
    throw toStoreError(error, `Reading ${path}`);
  } finally {
    db.close();
  }
}

const open = (path: string): DatabaseSync => connect(path, { busyTimeout: 5000, readOnly: true });
