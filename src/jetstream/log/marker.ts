/**
 * The mark that a move or an import leaves in the bucket: in progress while it runs or after it was
 * killed, complete with what it brought.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Counts, Kind } from "../../core/model.ts";
import { alive, type Bucket, revisionOf } from "./bucket.ts";
import { isWrittenSince } from "./fence.ts";
import { MARKER_KEY } from "../records/keys.ts";
import { streamInfo } from "./stream.ts";
import { whenStuck } from "./stuck.ts";
import { parseValue, VALUE_VERSION } from "../records/values.ts";
import { WrongRevision } from "./wire.ts";

/** The mark. */
export interface Marker {
  /** Whether everything that was to come has come. */
  state: "in_progress" | "complete";
  /** What left it. */
  by: "migration" | "import";
  /** Identity of the source (`store_id` of the SQLite file); `null` for an import. */
  source: string | null;
  /** When it began. */
  startedAt: string;
  /** When it was complete. */
  completedAt?: string;
  /** What it brought. */
  counts?: Counts;
  /** SHA-256 of the records by kind, and of all. */
  digests?: Record<Kind | "all", string>;
  /** The stream's sequence before the mark was set to complete. */
  sequence?: number;
  /** While what the bucket holds is yet to be saved, and is as it was: the mark before. */
  replaces?: Marker | null;
  /** The file that what was replaced was saved to. */
  saved?: string;
}

/** A mark as it was read. */
export interface ReadMarker {
  /** The mark, `null` for none. */
  marker: Marker | null;
  /** The revision to expect when it is written. */
  revision: number;
}

/** Reads the mark at the leader. */
export async function readMarker(bucket: Bucket, deadline: number): Promise<ReadMarker> {
  const entry = await bucket.get(MARKER_KEY, deadline);
  const live = alive(entry);
  if (live === null) return { marker: null, revision: revisionOf(entry) };
  const { v: _, ...marker } = parseValue(MARKER_KEY, live.data);
  return { marker, revision: live.revision };
}

/** The error for a mark that somebody else has written meanwhile. */
export function takenOver(cause: WrongRevision): StoreError {
  return new StoreError("conflict", "Another move or import works on this bucket", { cause });
}

/** Writes the mark (`null` removes it); `conflict` when somebody else did meanwhile. Returns its revision. */
export async function writeMarker(
  bucket: Bucket,
  marker: Marker | null,
  expect: number,
  deadline: number,
): Promise<number> {
  try {
    return await setMarker(bucket, marker, { expect }, deadline);
  } catch (error) {
    if (!(error instanceof WrongRevision)) throw error;
    throw takenOver(error);
  }
}

/**
 * Writes the mark if nothing in the bucket has changed since the stream ended at `sequence`, fences
 * aside; else `conflict`. `read` is the mark as it was read since.
 */
export async function claimBucket(
  bucket: Bucket,
  marker: Marker,
  { read, sequence }: { read: ReadMarker; sequence: number },
  deadline: number,
): Promise<number> {
  for (let lastSequence = sequence;;) {
    try {
      return await setMarker(bucket, marker, { expect: read.revision, lastSequence }, deadline);
    } catch (error) {
      if (!(error instanceof WrongRevision)) throw error;
      const now = (await streamInfo(bucket, deadline))?.state.last_seq ?? 0;
      const since = { sequence: lastSequence };
      if (now <= lastSequence || await isWrittenSince(bucket, since, deadline)) {
        throw new StoreError(
          "conflict",
          `Bucket ${bucket.name} was written since it was checked; stop what uses it, and run this again`,
          { cause: error },
        );
      }
      lastSequence = now;
    }
  }
}

function setMarker(
  bucket: Bucket,
  marker: Marker | null,
  condition: { expect: number; lastSequence?: number },
  deadline: number,
): Promise<number> {
  const value = marker && JSON.stringify({ v: VALUE_VERSION, ...marker });
  const write = { key: MARKER_KEY, value, ...condition };
  return bucket.commit([write], deadline, { onOpen: whenStuck(bucket) });
}

/**
 * What every batch of a bulk write demands of the mark. A writer that was stopped in the middle, or a
 * batch that a server held back, then changes nothing once another run has taken over or completed.
 */
export function guardOf(revision: number): { guard: { key: string; revision: number } } {
  return { guard: { key: MARKER_KEY, revision } };
}

/** Refuses a bucket that holds half of a control plane. */
export function refuseInProgress(bucket: Bucket, { marker }: ReadMarker): void {
  if (marker?.state !== "in_progress") return;
  const what = marker.by === "import" ? "An import" : "A migration";
  const how = marker.by === "import" ? "import the snapshot again" : "run the migration again";
  throw new StoreError(
    "in_progress",
    `${what} into bucket ${bucket.name} began at ${marker.startedAt} and did not complete; ${how} to continue`,
  );
}
