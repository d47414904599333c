/**
 * What the mark of a bucket says to a node: whether there is a control plane to serve.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { pause } from "../../../src/core/async/wait.ts";
import { findStream } from "../../../src/jetstream/log/wire.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { readMarker } from "../../../src/jetstream/log/marker.ts";
import { whenLost } from "../../cluster/journey.ts";

/** Timeout of a look in milliseconds. */
const PATIENCE_MS = 2_000;

/** Why a node waits that has never served. */
export const JOINED = "joined, waiting for the control plane";

/** The same while the control plane is being copied into the bucket. */
export const COPYING = `${JOINED}: it is being copied`;

/** Why it waits, and cannot know whether there is one. */
export const LOST = `${JOINED}: no majority of the nodes answers`;

/** Why it waits that has found one and could not serve it. */
export const UNSERVED = "the store cannot be served now";

/** Why it waits that has served it, or has found where it went. */
const LEFT = "the control plane moved to";

/** What there is to do first: the control plane is moving, or has moved, to this node. */
export const HOME = "the control plane comes to this node";

/** Timeout of a look at where the control plane went, and the pause between two, milliseconds. */
const MOVED = { look: 5_000, wait: 1_000 };

/** Returns the node that a bucket's control plane has moved to, as soon as a majority answers; null if it has not. */
export async function movedTo(
  connection: NatsConnection,
  bucket: string,
  signal: AbortSignal,
): Promise<string | null> {
  for (;;) {
    try {
      const deadline = Date.now() + MOVED.look;
      if (await findStream(connection, `KV_${bucket}`, deadline, signal) === null) return null;
      const { marker } = await readMarker(new Bucket(connection, bucket), deadline);
      return marker?.moved?.node ?? null;
    } catch {
      // No majority of the nodes runs.
      await pause(MOVED.wait, signal);
    }
  }
}

/**
 * Returns why a node must not serve a bucket; null if it may: a control plane has arrived there and
 * has not gone.
 *
 * @param connection The service connection
 * @param bucket The bucket
 * @param name The node; `HOME` if the control plane comes, or came, to it
 * @param signal Aborts the look
 * @throws {StoreError} unavailable: the cluster does not answer
 */
export async function whyNot(
  connection: NatsConnection,
  bucket: string,
  name: string | null,
  signal: AbortSignal,
): Promise<string | null> {
  const deadline = Date.now() + PATIENCE_MS;
  if (await findStream(connection, `KV_${bucket}`, deadline, signal) === null) return JOINED;
  const { marker } = await readMarker(new Bucket(connection, bucket), deadline);
  // Nothing was moved there, so another program made the bucket.
  if (marker === null) return JOINED;
  const { moved, shrink, calledOff } = marker;
  if (name !== null && (moved ?? shrink)?.node === name) return HOME;
  if (moved !== undefined) return `${LEFT} ${moved.node}`;
  if (marker.state === "complete") return null;
  return calledOff === undefined ? COPYING : JOINED;
}

/** Returns what helps with a request that a node cannot answer which waits for this reason. */
export function nextStep(why: string, name: string): string {
  if (why.startsWith(LOST) || why.startsWith(UNSERVED)) {
    return `start the other nodes; ${whenLost(name)}`;
  }
  return [JOINED, COPYING].includes(why) || why.startsWith(LEFT)
    ? "run the command on the node that serves"
    : `wait until ${name} serves, and run the command again`;
}
