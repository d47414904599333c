/**
 * Finishes a move of the control plane to this node that was killed, or calls it off.
 *
 * @module
 */

import { thawObjectBlobs } from "../../../../src/blobs/objects/freeze.ts";
import { finishShrink } from "../../../../src/move/live/shrink/finish.ts";
import { followerPath } from "../../../settings/settings.ts";
import type { Bus } from "../../bus.ts";
import type { Opened } from "../../node/serving.ts";
import type { Surroundings } from "../../parts.ts";
import { openLocal } from "../../storage/storage.ts";
import { Undo } from "../../undo.ts";

/** Returns the store of this node, why there is none, or null if the control plane stayed in the bucket. */
export async function arriveHome(
  around: Surroundings,
  { connection }: Bus,
  node: string,
): Promise<Opened | string | null> {
  const { settings, undo: outer, log, signal } = around;
  const { bucket } = settings;
  const follower = followerPath({ ...settings, store: "jetstream" }) ?? settings.db;
  const place = { connection, bucket: `${bucket ?? "UNIBUS"}_BLOBS` };
  const found = await finishShrink({
    nats: { connection, ...bucket === null ? {} : { bucket }, signal },
    db: settings.db,
    follower,
    node,
    blobs: { thaw: () => thawObjectBlobs(place) },
  });
  log("info", "shrink.found", { state: found.state });
  if (found.state === "elsewhere") {
    return `the control plane moved to ${found.moved.db} of ${found.moved.node}, which is not here`;
  }
  if (found.state !== "here") return null;
  const undo = new Undo();
  outer.add("what is served", () => undo.end(log), STOP_MS);
  return { storage: await openLocal({ ...around, undo }), undo };
}

/** Time limit for stopping what is served, in milliseconds. */
const STOP_MS = 20_000;
