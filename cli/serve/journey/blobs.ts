/**
 * The blobs of a journey: copied while they are in use, and switched with the store.
 *
 * @module
 */

import type { BlobStore } from "../../../src/blobs/types.ts";
import type { Mirror } from "../../../src/blobs/switch/mirror.ts";
import { pause } from "../../../src/core/async/wait.ts";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import type { Trip, World } from "./types.ts";

/** Tries of the copy: a replica that is behind ends one. */
const TRIES = 5;
/** Milliseconds between two tries. */
const WAIT_MS = 1_000;
/** How long changes of blobs may wait for a switch, milliseconds. */
const HELD_MS = 3_000;

/** Copies all blobs to `to`, and makes each change there too from now on. */
export async function copyAll(world: World, to: BlobStore, trip: Trip): Promise<Mirror> {
  const { blobs } = world.storage;
  trip.begin("blobs");
  const mirror = blobs.mirror(to);
  const { signal } = trip;
  for (let tries = 1;; tries++) {
    try {
      await mirror.all({ signal, onProgress: (done) => trip.tell({ done }) });
      return mirror;
    } catch (error) {
      if (tries >= TRIES || !isStoreError(error, "unavailable")) throw error;
      await pause(WAIT_MS, signal);
    }
  }
}

/**
 * Holds changes of blobs for a switch that is about to begin; they continue by themselves when it takes
 * too long.
 *
 * @throws {StoreError} unavailable: not all blobs could be copied
 */
export async function holdBlobs({ storage: { blobs } }: World, mirror: Mirror): Promise<void> {
  const timer = setTimeout(() => blobs.release(), HELD_MS);
  timer.unref?.();
  await blobs.hold();
  try {
    await mirror.settle();
  } catch (cause) {
    blobs.release();
    throw new StoreError("unavailable", "Copying the last changed blobs failed", { cause });
  }
}

/** Uses the second store from now on. */
export async function switchBlobs(
  { storage: { blobs }, around }: World,
  mirror: Mirror,
): Promise<void> {
  // Changed while a switch took too long; if it fails, the blob is still in the former store.
  await mirror.settle().catch((error) => {
    around.log("error", "blobs.left", { ids: [...mirror.owed], reason: error });
  });
  blobs.replace(mirror.to);
}
