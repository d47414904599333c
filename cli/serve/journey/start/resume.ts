/**
 * What a server that serves its file does about a journey that an earlier process began.
 *
 * @module
 */

import { pause } from "../../../../src/core/async/wait.ts";
import { Bucket } from "../../../../src/jetstream/log/bucket.ts";
import { readMarker } from "../../../../src/jetstream/log/marker.ts";
import { findStream } from "../../../../src/jetstream/cluster/copies.ts";
import { isClustered, nodeOf } from "../cluster.ts";
import type { Journeys } from "../journeys.ts";
import { goHome } from "../shrink.ts";
import type { World } from "../types.ts";

/** Timeout of a look at the bucket, milliseconds. */
const LOOK_MS = 5_000;
/** Milliseconds between two looks while the cluster does not answer. */
const WAIT_MS = 1_000;

/**
 * Leaves the cluster if the control plane has come from there, else says that a journey into it is not
 * finished. Until it is known, the file is served.
 */
export async function resume(world: World, journeys: Journeys): Promise<void> {
  if (world.storage.bucket !== null || !isClustered(world)) return;
  const { name, state } = await nodeOf(world);
  if (state !== "clustered") return;
  journeys.foundPaused(
    "grow",
    "The move into the cluster has begun and is not finished",
    "continue it with membershipd grow, or call it off with membershipd grow --call-off",
  );
  const { settings } = await world.settingsIn("clustered");
  const bucket = settings.bucket ?? "UNIBUS";
  if (await movedTo(world, bucket) === name) await goHome(world, bucket);
}

/** Returns the node that a bucket's control plane has moved to; null if it has not. */
async function movedTo({ bus, around }: World, name: string): Promise<string | null> {
  const { connection } = bus;
  const { signal } = around;
  for (;;) {
    try {
      const deadline = Date.now() + LOOK_MS;
      if (await findStream(connection, `KV_${name}`, deadline, signal) === null) return null;
      const { marker } = await readMarker(new Bucket(connection, name), deadline);
      return marker?.moved?.node ?? null;
    } catch {
      // No majority of the nodes runs.
      await pause(WAIT_MS, signal);
    }
  }
}
