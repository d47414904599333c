/**
 * The keys of records that changed since a live move began and are not copied yet.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import type { Kind } from "../../../core/model.ts";
import type { RecordKey } from "../../../core/order.ts";
import { value } from "../connect.ts";
import { asArrays, type Row } from "../../rows.ts";

/** The key of a record that changed. */
export interface Note {
  /** Its place in the order of changes. */
  seq: number;
  /** The kind of the record. */
  kind: Kind;
  /** Its key. */
  key: RecordKey;
}

/** Returns the oldest notes; all with a limit of -1. */
export function readNotes(db: DatabaseSync, limit: number): Note[] {
  if (value(db, "SELECT 1 FROM sqlite_schema WHERE name = 'journey_changes'") === undefined) {
    return [];
  }
  const rows = asArrays(db.prepare(
    "SELECT seq, kind, text, epoch, rest FROM journey_changes ORDER BY seq LIMIT ?",
  )).all(limit) as unknown as Row[];
  return rows.map(([seq, kind, text, epoch, rest]) => ({
    seq: Number(seq),
    kind: kind as Kind,
    key: [String(text), Number(epoch), String(rest)],
  }));
}
