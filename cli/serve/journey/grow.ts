/**
 * Moves the control plane and the blobs into the cluster of the plan, while this node serves.
 *
 * @module
 */

import { StoreError } from "../../../src/core/errors.ts";
import type { BlobStore } from "../../../src/blobs/types.ts";
import { thawObjectBlobs } from "../../../src/blobs/objects/freeze.ts";
import { growStore } from "../../../src/move/live/grow.ts";
import type { GrowPhase } from "../../../src/move/live/types.ts";
import type { JourneyPhase } from "../../cluster/journey.ts";
import { followerPath } from "../../settings/settings.ts";
import { openAhead } from "../storage/follower.ts";
import { openInObjects } from "../storage/storage.ts";
import { copyAll, holdBlobs, switchBlobs } from "./blobs.ts";
import { enterCluster } from "./cluster.ts";
import { COPIES, whenCurrent } from "./copies.ts";
import { checkGrow } from "./preflight.ts";
import type { Trip, World } from "./types.ts";

/** How the steps of the library are shown. */
const PHASES = {
  check: "preflight",
  copy: "copy",
  verify: "verify",
  switch: "switch",
  settle: "switch",
  done: "finish",
} as const satisfies Record<Exclude<GrowPhase, "ready">, JourneyPhase>;

/** Moves it. */
export async function grow(world: World, trip: Trip): Promise<void> {
  const { storage, around, bus } = world;
  if (storage.bucket !== null) {
    throw new StoreError("refused", `The control plane is in bucket ${storage.bucket} already`);
  }
  const plan = await checkGrow(world, trip);
  if (trip.request.dryRun) return;
  const names = plan.nodes.map((it) => it.name);
  await enterCluster(world, names, trip);
  const { settings } = await world.settingsIn("clustered");
  const bucket = settings.bucket ?? "UNIBUS";
  const { connection } = bus;
  const { store: target, follower } = await openAhead(
    { connection, bucket, replicas: COPIES, allowInProgress: true, signal: trip.signal },
    followerPath(settings),
    around.log,
  );
  let moved = false;
  const history = trip.request.noHistory !== true;
  let blobsIn: BlobStore | null = null;
  try {
    blobsIn = await openInObjects(bus, settings, bucket, COPIES, trip.signal);
    await thawObjectBlobs({ connection, bucket: `${bucket}_BLOBS` });
    const mirror = await copyAll(world, blobsIn, trip);
    const report = await growStore(storage.store, {
      target,
      signal: trip.signal,
      by: trip.request.by ?? "server",
      history,
      ...trip.request.pace === undefined ? {} : { pace: trip.request.pace },
      hold: () => trip.released(),
      ready: async () => {
        await whenCurrent(bus, { bucket, history }, trip);
        await holdBlobs(world, mirror);
      },
      onProgress: ({ phase, done, total, lag, reason }) => {
        trip.tell({ lag, retry: reason });
        // What it waits for then says how far it is.
        if (phase === "ready") return;
        trip.begin(PHASES[phase], total);
        trip.tell({ done });
      },
    });
    moved = true;
    await switchBlobs(world, mirror);
    storage.bucket = bucket;
    storage.follower = follower;
    trip.tell({ pause: Math.round(report.pause) });
  } finally {
    if (!moved) {
      storage.blobs.unmirror();
      await Promise.allSettled([target.close(), blobsIn?.close()]);
    }
  }
  trip.begin("finish");
}
