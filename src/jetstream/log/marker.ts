/**
 * The marker of a move or an import in the bucket: in progress while it runs or after it was
 * killed, or complete, with its result.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Counts, Kind } from "../../core/model.ts";
import { alive, type Bucket, revisionOf } from "./bucket.ts";
import { isWrittenSince } from "./fence.ts";
import { MARKER_KEY } from "../records/keys.ts";
import { leftBucket, type Moved } from "./marked.ts";
import { streamInfo } from "./stream.ts";
import { whenStuck } from "./stuck.ts";
import { parseValue, VALUE_VERSION } from "../records/values.ts";
import { wait, WrongRevision } from "./wire.ts";

/** The marker. */
export interface Marker {
  /** Whether the move or import has completed. */
  state: "in_progress" | "complete";
  /** What wrote it: a migration, an import, or a move while serving. */
  by: "migration" | "import" | "journey";
  /** Identity of the source (`store_id` of the SQLite file); `null` for an import. */
  source: string | null;
  /** Start time. */
  startedAt: string;
  /** Completion time. */
  completedAt?: string;
  /** Number of records. */
  counts?: Counts;
  /** SHA-256 of the records by kind, and of all. */
  digests?: Record<Kind | "all", string>;
  /** The stream's sequence before the marker was set to complete. */
  sequence?: number;
  /** The previous marker, while the bucket's previous contents are unchanged and not yet saved. */
  replaces?: Marker | null;
  /** The file with the saved previous contents. */
  saved?: string;
  /** The generation of the control plane: grows with each change of sides. Default 0. */
  generation?: number;
  /** The id of the move while serving. */
  journey?: string;
  /** Counts its attempts to switch: an attempt that was called off cannot complete later. */
  attempt?: number;
  /** When it was called off: what the bucket holds then is a part of a copy, and of no use. */
  calledOff?: string;
  /** Where the control plane went from here; `state` stays `in_progress` then, so that nobody opens it. */
  moved?: Moved;
  /** A live move out of the bucket that has begun. */
  shrink?: Shrink;
}

/** A live move out of the bucket that has begun and can still be called off. */
export interface Shrink {
  /** The move. */
  journey: string;
  /** The node that it moves to. */
  node: string;
  /** When it began, ISO 8601. */
  at: string;
}

/** A marker as read. */
export interface ReadMarker {
  /** The marker; `null` if there is none. */
  marker: Marker | null;
  /** The expected revision for writing it. */
  revision: number;
}

/** Reads the marker at the leader. */
export async function readMarker(bucket: Bucket, deadline: number): Promise<ReadMarker> {
  const entry = await bucket.get(MARKER_KEY, deadline);
  const live = alive(entry);
  if (live === null) return { marker: null, revision: revisionOf(entry) };
  const { v: _, ...marker } = parseValue(MARKER_KEY, live.data);
  return { marker, revision: live.revision };
}

/** Creates the error for a marker that another process has written meanwhile. */
export function takenOver(cause: WrongRevision): StoreError {
  return new StoreError("conflict", "Another move or import is using this bucket", { cause });
}

/**
 * Writes the marker, or removes it with `null`; returns its revision.
 *
 * @param entry An entry for the history, written with it
 * @throws {StoreError} conflict: another process has written it meanwhile
 */
export async function writeMarker(
  bucket: Bucket,
  marker: Marker | null,
  expect: number,
  deadline: number,
  entry?: string,
): Promise<number> {
  try {
    return await setMarker(bucket, marker, { expect }, deadline, entry);
  } catch (error) {
    if (!(error instanceof WrongRevision)) throw error;
    throw takenOver(error);
  }
}

/** Pause before a write is tried again that was rejected although nothing has changed, milliseconds. */
const AGAIN = 50;
/** How long a bucket is claimed, milliseconds: on a busy machine the moments between two fences of readers are rare. */
const CLAIM_MS = 60_000;

/**
 * Writes the marker if nothing in the bucket has changed after `sequence`, except fences. `read` is
 * the marker as read after that.
 *
 * @param deadline When it is given up. Default: after a minute, for what nobody waits for
 * @param entry An entry for the history, written with it
 * @throws {StoreError} conflict: the bucket has changed, with `field` "records" if the marker has not;
 * unavailable: the outcome is unknown
 */
export async function claimBucket(
  bucket: Bucket,
  marker: Marker,
  { read, sequence }: { read: ReadMarker; sequence: number },
  deadline: number = Date.now() + CLAIM_MS,
  entry?: string,
): Promise<number> {
  // A replaced leader can reject what its successor stores.
  const rejected = new Set<string>();
  for (let lastSequence = sequence;;) {
    try {
      const condition = { expect: read.revision, lastSequence };
      return await setMarker(bucket, marker, condition, deadline, entry);
    } catch (error) {
      if (!(error instanceof WrongRevision)) throw error;
      if (error.txn !== undefined) rejected.add(error.txn);
      const now = (await streamInfo(bucket, deadline))?.state.last_seq ?? 0;
      const mark = await bucket.get(MARKER_KEY, deadline);
      if (mark?.txn !== undefined && rejected.has(mark.txn)) return mark.revision;
      if (revisionOf(mark) > read.revision) throw takenOver(error);
      // What comes after `now` fails the next try: readers that write fences all the time must not be
      // waited for.
      const since = { sequence: lastSequence, until: now + 1 };
      if (await isWrittenSince(bucket, since, deadline)) {
        throw new StoreError(
          "conflict",
          `Bucket ${bucket.name} was written after it was checked; stop the programs that use it and run this again`,
          { cause: error, field: "records" },
        );
      }
      // A leader also counts fences that it has not stored yet, and a new one may not have them all.
      if (now <= lastSequence) await again(error, deadline);
      lastSequence = Math.max(lastSequence, now);
    }
  }
}

async function again(cause: WrongRevision, deadline: number): Promise<void> {
  if (Date.now() + AGAIN >= deadline) {
    throw new StoreError("unavailable", `Write ${MARKER_KEY}: ${cause.message}`, { cause });
  }
  await wait(AGAIN);
}

async function setMarker(
  bucket: Bucket,
  marker: Marker | null,
  condition: { expect: number; lastSequence?: number },
  deadline: number,
  entry?: string,
): Promise<number> {
  if (marker?.journey !== undefined) bucket.mark.own(marker.journey);
  const value = marker && JSON.stringify({ v: VALUE_VERSION, ...marker });
  const write = { key: MARKER_KEY, value, ...condition };
  const last = await bucket.commit([write], deadline, { entry, onOpen: whenStuck(bucket) });
  return entry === undefined ? last : last - 1;
}

/**
 * Returns the condition on the marker for each batch of a bulk write. An interrupted writer or a
 * delayed batch then changes nothing after another run has taken over or completed.
 */
export function guardOf(revision: number): { guard: { key: string; revision: number } } {
  return { guard: { key: MARKER_KEY, revision } };
}

/** What an incomplete marker of each kind is about, and how to continue. */
const INCOMPLETE: Record<Marker["by"], [what: string, how: string]> = {
  import: ["An import", "import the snapshot again to continue"],
  migration: ["A migration", "run the migration again to continue"],
  journey: [
    "A move of a control plane that serves from a file",
    "run membershipd grow on that node to continue, or with --call-off to end it",
  ],
};

/** Creates the error for a bucket with an incomplete move or import, or whose control plane moved away. */
export function incompleteOf(bucket: Bucket, { marker }: ReadMarker): StoreError | null {
  if (marker?.state !== "in_progress") return null;
  if (marker.moved !== undefined) return leftBucket(`Opening bucket ${bucket.name}`, marker);
  const [what, hint] = INCOMPLETE[marker.by];
  return new StoreError(
    "in_progress",
    `${what} into bucket ${bucket.name} began at ${marker.startedAt} and did not complete`,
    { hint },
  );
}

/**
 * Refuses a bucket with an incomplete move or import, or whose control plane moved away.
 *
 * @throws {StoreError} in_progress: a move or an import did not complete; refused: it moved
 */
export function refuseInProgress(bucket: Bucket, read: ReadMarker): void {
  const error = incompleteOf(bucket, read);
  if (error !== null) throw error;
}
