/**
 * What a server that serves its file does about a journey that an earlier process began.
 *
 * @module
 */

import { movedTo } from "../../node/mark.ts";
import { isClustered, nodeOf } from "../cluster.ts";
import type { Journeys } from "../journeys.ts";
import { goHome } from "../shrink.ts";
import type { World } from "../types.ts";

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
  const { around: { signal }, bus: { connection } } = world;
  if (await movedTo(connection, bucket, signal) !== name) return;
  await goHome(world, bucket);
  journeys.foundDone("shrink");
}
