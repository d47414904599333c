/**
 * The mark of a live move out of a bucket: announced, written, and settled when its answer was lost.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../../core/errors.ts";
import { callOff, thawWriters } from "../../../jetstream/freeze.ts";
import type { Bucket } from "../../../jetstream/log/bucket.ts";
import {
  claimBucket,
  type Marker,
  readMarker,
  refuseInProgress,
  type Shrink,
  writeMarker,
} from "../../../jetstream/log/marker.ts";
import type { Moved } from "../../../jetstream/log/marked.ts";
import { wait } from "../../../jetstream/log/wire.ts";
import { soon } from "../../steps.ts";

/** The longest pause between tries to settle, milliseconds. */
const LONGEST = 1000;

/** The mark of a move that can still be called off. */
export interface Announced {
  /** The mark. */
  marker: Marker & { shrink: Shrink };
  /** Its revision. */
  revision: number;
}

/**
 * Announces a move, so that whoever finds the writers stopped knows why. A move of the same node that
 * was not finished is replaced.
 *
 * @throws {StoreError} `in_progress`: another move has begun; `refused`: the control plane has left
 */
export async function announce(
  bucket: Bucket,
  shrink: Shrink,
  source: string,
): Promise<Announced> {
  const read = await readMarker(bucket, soon());
  refuseInProgress(bucket, read);
  const other = read.marker?.shrink;
  if (other !== undefined && other.node !== shrink.node) {
    throw new StoreError(
      "in_progress",
      `Moving bucket ${bucket.name} to node ${shrink.node}: a move to node ${other.node} began at ${other.at}`,
      {
        hint: `finish it on node ${other.node}, or call it off with membershipd shrink --call-off`,
      },
    );
  }
  const marker = {
    ...read.marker ?? { state: "complete", by: "journey", source, startedAt: shrink.at },
    source: read.marker?.source ?? source,
    generation: bucket.generation,
    shrink,
  } satisfies Marker;
  return { marker, revision: await writeMarker(bucket, marker, read.revision, soon()) };
}

/** Returns the mark that says that the control plane has left. */
function markOf({ marker: { source } }: Announced, { journey, at }: Shrink, moved: Moved): Marker {
  return {
    // Programs that do not know of moves out of a bucket see one into it that is not complete.
    state: "in_progress",
    by: "journey",
    source,
    startedAt: at,
    generation: 0,
    journey,
    moved,
  };
}

/**
 * Writes the mark that the control plane has left, unless a record was written after the position that
 * it left at. If its answer is lost, only another write settles what became of it: that waits without
 * a limit.
 *
 * @returns Whether it has left; `false` if the move was called off instead, or a record was written
 * @throws {StoreError} `conflict`: somebody else called it off
 */
export async function leave(
  bucket: Bucket,
  announced: Announced,
  moved: Moved,
  generation: number,
): Promise<boolean> {
  const { shrink } = announced.marker;
  const marker = { ...markOf(announced, shrink, moved), generation };
  const read = { marker: announced.marker, revision: announced.revision };
  try {
    await claimBucket(bucket, marker, { read, sequence: moved.position }, soon());
    return true;
  } catch (error) {
    // A server that leads the stream now may have learned later than others that no record is taken.
    const isWritten = isStoreError(error, "conflict") && error.field === "records";
    if (!isWritten && !isStoreError(error, "unavailable")) throw error;
    return await settle(bucket, announced);
  }
}

/**
 * Calls a move off, or finds that it cannot be called off any more, by writing the mark.
 *
 * @returns Whether the control plane has left by this move
 */
export async function settle(bucket: Bucket, { marker, revision }: Announced): Promise<boolean> {
  for (let pause = 50;; pause = Math.min(2 * pause, LONGEST)) {
    try {
      await callOff(bucket, { marker, revision }, soon());
      return false;
    } catch (error) {
      if (isStoreError(error, "conflict")) {
        const now = await readMarker(bucket, soon()).catch(() => null);
        if (now !== null && now.revision !== revision) {
          if (now.marker?.moved !== undefined) {
            return now.marker.journey === marker.shrink.journey;
          }
          // Called off, by this or by another; or another move has begun, whose matter it is.
          if (now.marker?.shrink !== undefined) return false;
          if (await thawed(bucket)) return false;
        }
      } else if (!isStoreError(error, "unavailable")) throw error;
    }
    await wait(pause);
  }
}

async function thawed(bucket: Bucket): Promise<boolean> {
  return await thawWriters(bucket, soon()).then(() => true, () => false);
}
