/**
 * Moves the control plane and the blobs into files of this node, while it serves, then leaves the cluster.
 *
 * @module
 */

import type { Mirror } from "../../../src/blobs/switch/mirror.ts";
import {
  changedObjectBlobs,
  freezeObjectBlobs,
  thawObjectBlobs,
} from "../../../src/blobs/objects/freeze.ts";
import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import type { ShrinkBlobs } from "../../../src/move/live/shrink/types.ts";
import { shrinkStore } from "../../../src/move/live/shrink/shrink.ts";
import { whenLost } from "../../cluster/journey.ts";
import { openOnDisk } from "../storage/storage.ts";
import { copyAll, switchBlobs } from "./blobs.ts";
import { leaveCluster, nodeOf, whenOthersLeft } from "./cluster.ts";
import type { Trip, World } from "./types.ts";

/** How the steps of the library are shown. */
const PHASES = {
  check: "preflight",
  begin: "switch",
  freeze: "switch",
  follow: "switch",
  mark: "switch",
  finish: "finish",
  flip: "finish",
  rename: "finish",
  open: "finish",
  done: "finish",
} as const;

/** Moves it. */
export async function shrink(world: World, trip: Trip): Promise<void> {
  const { storage, around } = world;
  const { name } = await nodeOf(world);
  const { keep = name, dryRun = false } = trip.request;
  if (storage.bucket === null) {
    throw new StoreError(
      "refused",
      `Node ${name} serves from a file already: ${around.settings.db}`,
      { hint: `another node can keep it after membershipd grow on ${name}` },
    );
  }
  if (keep !== name) {
    throw new StoreError("refused", `Shrinking to ${keep} was asked of node ${name}`, {
      hint: `run membershipd shrink --keep ${keep} on ${keep}`,
    });
  }
  if (storage.follower === null) {
    throw new StoreError("refused", `Node ${name} keeps no second copy of the control plane`, {
      hint: "remove --follower none and restart it; its second copy becomes the file",
    });
  }
  const blobs = new LeavingBlobs(world, trip);
  let told: string | null = null;
  const report = await orLost(
    name,
    shrinkStore(storage.store, {
      db: around.settings.db,
      node: name,
      blobs,
      dryRun,
      by: trip.request.by ?? "server",
      history: trip.request.noHistory !== true,
      signal: trip.signal,
      stop: around.signal,
      ready: async () => {
        await trip.released();
        // What changed meanwhile, so that little is left when all wait for it.
        await blobs.catchUp();
      },
      onProgress: ({ phase, calledOff, waitsFor }) => {
        trip.begin(PHASES[phase]);
        const retry = waitsFor ?? calledOff;
        trip.tell({ retry });
        if (retry !== told && retry !== null) {
          around.log("warn", "shrink.again", { message: retry });
        }
        told = retry;
      },
    }),
  ).catch(async (error) => {
    await blobs.end();
    throw error;
  });
  if (dryRun) return;
  trip.tell({ pause: Math.round(report.pauseMs) });
  await blobs.done();
  const { bucket } = storage;
  storage.bucket = null;
  storage.follower = null;
  trip.begin("nats");
  await goHome(world, bucket);
}

/** Adds what to do without a majority to an error that may have that reason. */
async function orLost<T>(name: string, shrinking: Promise<T>): Promise<T> {
  return await shrinking.catch((error) => {
    if (!isStoreError(error, "unavailable") || error.field === "follower") throw error;
    throw new StoreError("unavailable", error.message, { cause: error, hint: whenLost(name) });
  });
}

/** Leaves the cluster after the control plane has left it. */
export async function goHome(world: World, bucket: string): Promise<void> {
  await whenOthersLeft(world, bucket);
  await leaveCluster(world, "alone");
}

/** The blobs on their way to the disk. */
class LeavingBlobs implements ShrinkBlobs {
  readonly #world: World;
  readonly #trip: Trip;
  readonly #place: { connection: World["bus"]["connection"]; bucket: string };
  #mirror: Mirror | null = null;
  #position = 0;

  constructor(world: World, trip: Trip) {
    this.#world = world;
    this.#trip = trip;
    const { connection } = world.bus;
    this.#place = { connection, bucket: `${world.storage.bucket}_BLOBS` };
  }

  async copy(): Promise<void> {
    const { position } = await changedObjectBlobs(this.#place, 0);
    const disk = await openOnDisk(this.#world.around.settings);
    this.#mirror = await copyAll(this.#world, disk, this.#trip);
    this.#position = position;
  }

  /** Copies what other nodes have changed. */
  async catchUp(): Promise<void> {
    const { ids, position } = await changedObjectBlobs(this.#place, this.#position);
    for (const id of ids) await this.#mirror!.sync(id, this.#trip.signal);
    this.#position = position;
  }

  async freeze(): Promise<void> {
    await this.#world.storage.blobs.hold();
    await freezeObjectBlobs(this.#place);
    await this.catchUp();
  }

  async thaw(): Promise<void> {
    await thawObjectBlobs(this.#place).finally(() => this.#world.storage.blobs.release());
  }

  /** Ends the copy: the blobs stay where they are. */
  async end(): Promise<void> {
    this.#world.storage.blobs.unmirror();
    await this.#mirror?.to.close();
  }

  async done(): Promise<void> {
    // A server that leads them may have learned late that no blob is taken.
    await this.catchUp().catch((error) => {
      this.#world.around.log("error", "blobs.left", { reason: error });
    });
    await switchBlobs(this.#world, this.#mirror!);
  }
}
