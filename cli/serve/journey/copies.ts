/**
 * Waits for the copies of what is moved.
 *
 * @module
 */

import { orAbort, pause } from "../../../src/core/async/wait.ts";
import { StoreError } from "../../../src/core/errors.ts";
import { copiesOf, type Copy, findStream, isWhole } from "../../../src/jetstream/cluster/copies.ts";
import { takesWrites } from "../../../src/jetstream/cluster/replica.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import type { Trip, World } from "./types.ts";

/** Copies of each bucket. */
export const COPIES = 3;
/** How long all copies may take to be current, milliseconds. */
const CURRENT_MS = 60_000;
const LOOK_MS = 200;

/**
 * Waits until all copies of both buckets are current, and each one of the control plane has stored a
 * write that was made then. The leader takes one that is gone for current for some seconds.
 *
 * @throws {StoreError} `unavailable`: they are not, and which
 */
export async function whenCurrent(
  { connection }: Pick<World["bus"], "connection">,
  bucket: string,
  trip: Pick<Trip, "begin" | "tell" | "signal">,
): Promise<void> {
  const { signal } = trip;
  trip.begin("replicas", 2 * COPIES);
  const deadline = Date.now() + CURRENT_MS;
  const streams = [`KV_${bucket}`, `OBJ_${bucket}_BLOBS`];
  const control = new Bucket(connection, bucket);
  const lagsBehind = async ({ node, current, reachable }: Copy) =>
    !current || !reachable ||
    !await orAbort(takesWrites(control, node).catch(() => false), signal);
  for (;;) {
    const found = await Promise.all(
      streams.map((it) => findStream(connection, it, deadline, signal)),
    );
    const [copies = [], blobs = []] = found.map((it) => it === null ? [] : copiesOf(it));
    const late = blobs.filter((it) => !it.current || !it.reachable);
    const lags = await Promise.all(copies.map(lagsBehind));
    late.push(...copies.filter((_, i) => lags[i]));
    const all = copies.length + blobs.length;
    trip.tell({ done: all - late.length });
    const areWhole = found.every((it) => it !== null && isWhole(it));
    if (areWhole && all === 2 * COPIES && late.length === 0) return;
    if (Date.now() > deadline) {
      const nodes = [...new Set(late.map((it) => it.node))].join(", ");
      throw new StoreError(
        "unavailable",
        `Not all copies are current within ${CURRENT_MS / 1000} s: ${nodes || "some are missing"}`,
        { hint: "see membershipd cluster status" },
      );
    }
    await pause(LOOK_MS, signal);
  }
}
