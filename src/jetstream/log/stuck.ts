/**
 * Telling a server whose disk is full from one that is gone for a moment.
 *
 * A nats-server that runs out of disk answers an atomic batch with "incomplete" and a single message
 * with nothing at all, while it answers questions as ever; also when there is room again, until it is
 * restarted. Above its own limit (`max_file_store`, by default a share of what was free when it
 * started) it says "insufficient resources" to a single message.
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { Bucket } from "./bucket.ts";
import { FENCE_KEY } from "../records/keys.ts";
import { quorumAge, streamInfo } from "./stream.ts";
import { apiCode, CODE, storageFull, Transient, wait } from "./wire.ts";

/** How long writing must have failed before it is looked into, milliseconds. */
const SUSPICIOUS = 1000;
/** How long a server that answers may take for a small write, milliseconds. */
const PATIENCE = 4000;
/** A leader that has not heard from a majority for longer may have been replaced, milliseconds. */
const QUORUM_AGE = 2000;

/** For `onOpen` of a write: `unavailable`, and why, once the server answers and stores nothing. */
export function whenStuck(bucket: Bucket): () => Promise<void> {
  let checked = Date.now();
  return async () => {
    if (Date.now() - checked < SUSPICIOUS) return;
    await refuseStuck(bucket);
    checked = Date.now();
  };
}

async function refuseStuck(bucket: Bucket): Promise<void> {
  const what = `Write to bucket ${bucket.name}`;
  const until = Date.now() + PATIENCE;
  do {
    try {
      await bucket.put(FENCE_KEY, nuid.next(), until);
      return;
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      if (apiCode(error) === CODE.insufficientResources) {
        throw storageFull(what, error.message, error);
      }
      await wait(100);
    }
  } while (Date.now() < until);
  if (await isHealthy(bucket)) {
    throw storageFull(what, "it answers, but stores nothing since its disk was full or failed");
  }
}

/** Whether the server knows of nothing that keeps it from writing. */
async function isHealthy(bucket: Bucket): Promise<boolean> {
  try {
    const info = await streamInfo(bucket, Date.now() + 1000);
    return info !== null && quorumAge(info) < QUORUM_AGE;
  } catch (error) {
    if (error instanceof StoreError && error.code === "unavailable") return false;
    throw error;
  }
}
