/**
 * Undoes what a journey began before its switch.
 *
 * @module
 */

import { thawObjectBlobs } from "../../../src/blobs/objects/freeze.ts";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import { callOffShrink } from "../../../src/move/live/shrink/finish.ts";
import { findStream } from "../../../src/jetstream/log/wire.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { callOffGrow, callOffJourney } from "../../../src/move/live/settle.ts";
import { setAside } from "../../../src/move/steps.ts";
import type { Settings } from "../../settings/settings.ts";
import { isClustered, leaveCluster } from "./cluster.ts";
import type { Trip, World } from "./types.ts";

/** How long finding the bucket may take, milliseconds. */
const FIND_MS = 10_000;

const LOST =
  "start the other nodes: a majority must answer. If they are lost for good, use membershipd grow " +
  "--call-off --force; membershipd cluster plan --replace then makes a plan with other machines";

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
  const isLost = await endGrow(world, settings, trip);
  trip.begin("nats");
  await leaveCluster(world, "planned");
  // The next cluster begins with new streams.
  if (isLost) await setAside(settings.natsStore);
}

/** Ends it; returns whether the bucket does not know, because no majority of the nodes answers. */
async function endGrow(
  world: World,
  { db, bucket }: Settings,
  { request: { force }, signal }: Trip,
): Promise<boolean> {
  const { connection } = world.bus;
  const name = bucket ?? "UNIBUS";
  try {
    const found = await findStream(connection, `KV_${name}`, Date.now() + FIND_MS, signal);
    if (found === null && force === true) {
      await callOffGrow({ db, nats: { connection, bucket: name }, force });
    } else await callOffJourney(db, found === null ? null : new Bucket(connection, name));
    return false;
  } catch (cause) {
    if (!isStoreError(cause, "unavailable")) throw cause;
    // The file of a move that was not switched has the control plane, whatever becomes of the bucket.
    if (force !== true) {
      const message = `Calling off the grow: ${cause.message}`;
      throw new StoreError("unavailable", message, { cause, hint: LOST });
    }
    await callOffJourney(db, null);
    return true;
  }
}
