/**
 * Undoes what a journey began before its switch.
 *
 * @module
 */

import { thawObjectBlobs } from "../../../src/blobs/objects/freeze.ts";
import { callOffShrink } from "../../../src/move/live/shrink/finish.ts";
import { findStream } from "../../../src/jetstream/cluster/copies.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { callOffGrow, callOffJourney } from "../../../src/move/live/settle.ts";
import { isClustered, leaveCluster } from "./cluster.ts";
import type { Trip, World } from "./types.ts";

/** How long finding the bucket may take, milliseconds. */
const FIND_MS = 10_000;

/** Calls it off: the control plane stays where it is. */
export async function callOff(world: World, trip: Trip): Promise<void> {
  const { storage, bus } = world;
  const { connection } = bus;
  trip.begin("finish");
  if (storage.bucket !== null) {
    const { bucket } = storage;
    await callOffShrink({ connection, bucket });
    await thawObjectBlobs({ connection, bucket: `${bucket}_BLOBS` });
    return;
  }
  // Before it has entered the cluster, it has no bucket.
  if (!isClustered(world)) return;
  const { settings } = await world.settingsIn("clustered");
  const name = settings.bucket ?? "UNIBUS";
  const deadline = Date.now() + FIND_MS;
  const found = await findStream(connection, `KV_${name}`, deadline, trip.signal);
  if (found === null && trip.request.force === true) {
    await callOffGrow({ db: settings.db, nats: { connection, bucket: name }, force: true });
  } else await callOffJourney(settings.db, found === null ? null : new Bucket(connection, name));
  trip.begin("nats");
  await leaveCluster(world, "planned");
}
