/**
 * The mark of a live move in the bucket: claimed, completed, and settled when an answer was lost.
 *
 * @module
 */

import { pause } from "../../core/async/wait.ts";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { isEmpty } from "../../jetstream/backend.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import {
  claimBucket,
  type Marker,
  type ReadMarker,
  readMarker,
  writeMarker,
} from "../../jetstream/log/marker.ts";
import { writeFence } from "../../jetstream/log/fence.ts";
import { streamInfo } from "../../jetstream/log/stream.ts";
import type { JourneyFile } from "../../sqlite/file/journey/file.ts";
import type { Journey } from "../../sqlite/file/journey/journey.ts";
import type { Claim } from "../claim.ts";
import { refuseAborted, soon } from "../steps.ts";
import { mayReturn, openAgain } from "./again.ts";

/** How long an answer about the mark is waited for while writers wait, milliseconds. */
const ANSWER_MS = 900;

/** What a file and its move say of themselves. */
export interface Mover {
  /** Identity of the control plane. */
  storeId: string;
  /** The move, if it has begun. */
  journey: Journey | null;
  /** A move of this file that was called off while its bucket could not be told. */
  abandoned?: string | null;
  /** The generation of the control plane in the file. */
  generation: number;
}

/**
 * Returns how the target may be claimed.
 *
 * @throws {StoreError} `refused`: it has other contents
 */
export async function judgeTarget(
  bucket: Bucket,
  { storeId, journey, abandoned = null, generation }: Mover,
  signal: AbortSignal | undefined,
): Promise<{ read: ReadMarker; sequence: number; isFresh: boolean }> {
  const sequence = (await streamInfo(bucket, soon()))?.state.last_seq ?? 0;
  const read = await readMarker(bucket, soon());
  const { marker } = read;
  const refused = (found: string, hint: string) =>
    new StoreError("refused", `Moving to bucket ${bucket.name}: ${found}`, {
      field: "bucket",
      hint,
    });
  if (marker === null) {
    if (await isEmpty(bucket, signal)) return { read, sequence, isFresh: true };
    throw refused("it has a control plane that did not come from this file", "use another bucket");
  }
  const { state, calledOff, source, by, startedAt, completedAt } = marker;
  if (journey !== null && marker.journey === journey.id && state === "complete") {
    throw refused(
      `this move was completed at ${completedAt}: the file is older than that`,
      "use the bucket",
    );
  }
  if (state === "in_progress") {
    const isSame = journey !== null && marker.journey === journey.id;
    const isAbandoned = abandoned !== null && marker.journey === abandoned &&
      marker.moved === undefined;
    const isCalledOff = (calledOff !== undefined || isAbandoned) && source === storeId;
    if (isSame || isCalledOff || mayReturn(bucket, marker, { storeId, generation })) {
      return { read, sequence, isFresh: false };
    }
  }
  throw refused(
    `it has the records of another ${by === "journey" ? "move" : by}, which began at ${startedAt}`,
    state === "in_progress"
      ? "continue that one. If its file is gone, delete the bucket; on the nodes of a plan, call this " +
        "move off, run membershipd cluster plan --replace, and let them join in empty directories"
      : "use another bucket",
  );
}

/** The mark while a run of a move is in progress. */
function markOf(storeId: string, { id, attempt, generation, startedAt }: Journey): Marker {
  const state = { state: "in_progress", by: "journey", source: storeId } as const;
  return { ...state, startedAt, generation, journey: id, attempt };
}

/**
 * Marks the target as in progress by this run. Writers that were stopped at the server may write again.
 *
 * @throws {StoreError} `refused`: it has other contents; `conflict`: another run has taken over
 */
export async function claimTarget(
  bucket: Bucket,
  { storeId, journey, generation }: Mover & { journey: Journey },
  signal: AbortSignal | undefined,
): Promise<Claim> {
  const marker = markOf(storeId, journey);
  // Stores of this process that have the bucket open expect the marks of this move.
  bucket.mark.own(journey.id);
  for (;;) {
    const found = await judgeTarget(bucket, { storeId, journey, generation }, signal);
    refuseLater(bucket, found.read.marker, journey);
    try {
      const revision = found.isFresh
        ? await claimBucket(bucket, marker, found)
        : await writeMarker(bucket, marker, found.read.revision, soon());
      await openAgain(bucket);
      return { marker, revision };
    } catch (error) {
      // An earlier run of this move was faster; it stops when it sees this one's mark.
      if (!isStoreError(error, "conflict")) throw error;
    }
  }
}

/**
 * Completes the move: the point of no return. If this rejects, the outcome is not known.
 *
 * @param sequence Where the bucket is as the file: nobody may have written since
 * @param entry The entry of the history that tells of it
 */
export async function complete(
  bucket: Bucket,
  read: Claim,
  sequence: number,
  entry: string | undefined,
): Promise<number> {
  const completedAt = new Date().toISOString();
  const marker: Marker = { ...read.marker, state: "complete", completedAt };
  try {
    const deadline = Date.now() + ANSWER_MS;
    return await claimBucket(bucket, marker, { read, sequence }, deadline, entry);
  } catch (error) {
    const isWritten = isStoreError(error, "conflict") && error.field === "records";
    throw isWritten ? writtenElsewhere("a record") : error;
  }
}

/** Creates the error for a bucket that another program writes to: then it is compared with the file again. */
export function writtenElsewhere(what: string): StoreError {
  return new StoreError(
    "unavailable",
    `Switching: ${what} was written to the bucket by another program`,
    { hint: "stop other programs that have the bucket open" },
  );
}

/** Creates the error for a bucket that another program does not stop writing to. */
export function writtenOften({ name }: Bucket, key: string, times: number): StoreError {
  return new StoreError(
    "conflict",
    `Moving to bucket ${name}: another program writes to it; ${times} comparisons with the file found ` +
      `new records, the last one ${key}`,
    {
      field: "records",
      hint:
        "stop the program that has the bucket open, then run the same command again to continue",
    },
  );
}

/** Options of {@link settle}. */
export interface SettleOptions {
  /** Ends it; the file stays frozen. */
  signal?: AbortSignal | undefined;
  /** Called before each attempt. */
  onTry?: () => void;
  /** Called when an attempt failed and another one will be made. */
  onFailure?: (error: StoreError) => void;
}

/** What became of a switch. */
export type Settled =
  | { moved: true; revision: number }
  | { moved: false; journey: Journey; claim: Claim };

/**
 * Finds out whether the move was completed, by a write of the mark: reading does not tell, because a
 * completed mark that was held up on its way may be stored later. Tries until it is known.
 *
 * @param given The move of a frozen file; the caller's run owns it from now on
 * @throws {StoreError} `conflict`: another run has taken over; `not_found`: the bucket is another one than
 * that of the move; `aborted`: the file stays frozen
 */
export async function settle(
  bucket: Bucket,
  file: JourneyFile,
  given: Journey,
  { signal, onTry = () => {}, onFailure = () => {} }: SettleOptions = {},
): Promise<Settled> {
  const journey = await takeOver(file, given, signal);
  // What a follower found out about the bucket must not stop this.
  const own = bucket.beside();
  own.mark.own(journey.id);
  for (let tries = 1;; tries++) {
    refuseAborted(signal);
    onTry();
    try {
      const { marker, revision } = await presentMark(own);
      if (isForward(marker, journey)) return { moved: true, revision };
      if (marker !== null && marker.journey !== journey.id) throw takenOver(own);
      refuseLater(own, marker, journey);
      const next = markOf(file.storeId, journey);
      const written = await writeMarker(own, next, revision, Date.now() + ANSWER_MS);
      return { moved: false, journey, claim: { marker: next, revision: written } };
    } catch (error) {
      const isOpen = error instanceof StoreError &&
        (error.code === "unavailable" || error.code === "conflict" && error.field !== "journey");
      if (!isOpen) throw error;
      onFailure(error);
    }
    await pause(Math.min(50 * tries, 1000), signal).catch(() => refuseAborted(signal));
  }
}

/**
 * Reads the mark of a move whose file is frozen, so it had one. A bucket that was made again for calling the
 * move off has none yet.
 *
 * @throws {StoreError} `not_found`: there is none
 */
async function presentMark(bucket: Bucket): Promise<ReadMarker> {
  const found = await readMarker(bucket, Date.now() + ANSWER_MS);
  if (found.marker !== null) return found;
  // A new leader may not have everything yet.
  await writeFence(bucket, soon());
  const now = await readMarker(bucket, soon());
  const info = await streamInfo(bucket, soon());
  if (now.marker !== null || (info?.config.first_seq ?? 0) > 1) return now;
  throw new StoreError(
    "not_found",
    `Settling a switch to bucket ${bucket.name}: it was deleted and created again, so it does not say ` +
      "whether the switch was made",
    { field: "bucket", hint: "delete it, then call the move off with force" },
  );
}

/** Makes this run the owner of the move, as soon as other writers of the file let it. */
async function takeOver(
  file: JourneyFile,
  journey: Journey,
  signal: AbortSignal | undefined,
): Promise<Journey> {
  for (;;) {
    try {
      return await file.takeOver(journey);
    } catch (error) {
      if (!isStoreError(error, "unavailable")) throw error;
    }
    refuseAborted(signal);
  }
}

/** Whether the control plane is in the bucket, or has been since. */
function isForward(marker: Marker | null, { id, generation }: Journey): boolean {
  if (marker === null) return false;
  return marker.journey === id && marker.state === "complete" ||
    (marker.generation ?? 0) > generation;
}

function refuseLater(bucket: Bucket, marker: Marker | null, { id, attempt }: Journey): void {
  if (marker?.journey === id && (marker.attempt ?? 0) > attempt) throw takenOver(bucket);
}

function takenOver({ name }: Bucket): StoreError {
  return new StoreError("conflict", `Moving to bucket ${name}: another run has taken over`, {
    field: "journey",
  });
}
