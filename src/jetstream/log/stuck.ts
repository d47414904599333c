/**
 * Distinguishes a server with a full disk from one that is temporarily unavailable.
 *
 * A nats-server that runs out of disk space answers an atomic batch with "incomplete" and a single
 * message not at all, while it still answers reads; until it is restarted, even if there is space
 * again. Above its own limit (`max_file_store`, by default a share of the free space at its start)
 * it answers a single message with "insufficient resources".
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { Bucket } from "./bucket.ts";
import { FENCE_KEY } from "../records/keys.ts";
import { quorumAge, streamInfo } from "./stream.ts";
import { apiCode, CODE, storageFull, Transient, wait } from "./wire.ts";

/** Time in milliseconds for which writes must have failed before the cause is checked. */
const SUSPICIOUS = 1000;
/** Time limit of a small write in milliseconds, for a server that answers. */
const PATIENCE = 4000;
/**
 * Time in milliseconds without contact to a majority after which a leader may have been replaced.
 */
const QUORUM_AGE = 2000;

/**
 * Creates the `onOpen` callback of a write: throws `unavailable` with the cause if the server
 * answers but stores nothing.
 */
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
  const leader = await healthyLeader(bucket);
  while (leader !== null) {
    try {
      await bucket.put(FENCE_KEY, nuid.next(), Date.now() + PATIENCE);
      return;
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      if (apiCode(error) === CODE.insufficientResources) {
        throw storageFull(what, error.message, error);
      }
    }
    // A majority that is back after the last try says nothing of why that failed.
    if (await healthyLeader(bucket) !== leader) return;
    if (Date.now() >= until) {
      throw storageFull(what, "it answers but stores nothing, because its disk was full or failed");
    }
    await wait(100);
  }
}

/** Returns the name of the server that leads the stream if it knows no reason why it cannot write, else `null`. */
async function healthyLeader(bucket: Bucket): Promise<string | null> {
  try {
    const info = await streamInfo(bucket, Date.now() + 1000);
    if (info === null || quorumAge(info) >= QUORUM_AGE) return null;
    return info.cluster?.leader ?? "";
  } catch (error) {
    if (error instanceof StoreError && error.code === "unavailable") return null;
    throw error;
  }
}
