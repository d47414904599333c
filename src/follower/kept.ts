/**
 * What a follower's file keeps of its bucket besides records: the mark of the move that filled it.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import type { Marker } from "../jetstream/log/marker.ts";
import { MARKER_KEY } from "../jetstream/records/keys.ts";
import { parseValue } from "../jetstream/records/values.ts";
import { readRole } from "../sqlite/file/role.ts";
import { getMeta, setMeta } from "../sqlite/file/schema.ts";

/** The names in `meta`; the thread writes them. */
const MARKER = "follower_marker";
const WRITTEN_AT = "follower_written_at";
const HISTORY = ["follower_history_origin", "follower_history_gap"];

/** Key in `meta`: the live move that makes this file the control plane, once the bucket says so. */
export const JOURNEY = "follower_journey";
/** Key in `meta`: that the control plane has left the bucket for another file. */
export const LEFT = "follower_left";

/** Returns the mark that the bucket had at the file's position; `null` for none. */
export function keptMarker(db: DatabaseSync): Marker | null {
  const text = getMeta(db, MARKER);
  if (text === null) return null;
  const { v: _, ...marker } = parseValue(MARKER_KEY, new TextEncoder().encode(text));
  return marker as Marker;
}

/** Returns the generation of the control plane that a file follows. */
export function keptGeneration(db: DatabaseSync): number {
  return Math.max(readRole(db).generation, keptMarker(db)?.generation ?? 0);
}

/** Forgets how far the history is: the bucket may count from an earlier sequence again. */
export function forgetHistoryOrigin(db: DatabaseSync): void {
  setMeta(db, HISTORY[0]!, null);
}

/** Forgets it: the file is no longer a follower's. */
export function forgetKept(db: DatabaseSync): void {
  for (const key of [MARKER, WRITTEN_AT, ...HISTORY]) setMeta(db, key, null);
}
