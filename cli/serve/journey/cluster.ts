/**
 * Takes our nats-server into the cluster and out of it, while clients stay.
 *
 * @module
 */

import { StoreError } from "../../../src/core/errors.ts";
import { pause } from "../../../src/core/async/wait.ts";
import { copiesOf } from "../../../src/jetstream/cluster/copies.ts";
import { findStream } from "../../../src/jetstream/log/wire.ts";
import { askPresence } from "../../cluster/presence.ts";
import { type NodeFile, type NodeState, readNode, writeNode } from "../../settings/node.ts";
import type { Trip, World } from "./types.ts";

/** How long a cluster may take to elect a leader and to see all nodes, milliseconds. */
const FORMING_MS = 60_000;
/** How long other nodes may take to see that the control plane has gone, milliseconds. */
const LEAVING_MS = 5_000;
/** Timeout of a question in milliseconds. */
const ASK_MS = 2_000;
/** Interval of the looks in milliseconds. */
const LOOK_MS = 200;

/**
 * Reads the node file.
 *
 * @throws {StoreError} refused: there is none
 */
export async function nodeOf({ around }: World): Promise<NodeFile> {
  const { db } = around.settings;
  const node = await readNode(db);
  if (node !== null) return node;
  throw new StoreError("refused", `There is no plan of a cluster beside ${db}`, {
    hint: "make one with membershipd cluster plan, and let the other machines join",
  });
}

/** Writes the state of this node. */
export async function writeState(world: World, state: NodeState): Promise<void> {
  await writeNode(world.around.settings.db, { ...await nodeOf(world), state });
}

/**
 * Restarts our nats-server into the cluster, and waits until that has a leader and all its nodes. If it
 * does not come about, goes back.
 *
 * @throws {StoreError} unavailable: the cluster did not come about
 */
export async function enterCluster(
  world: World,
  names: readonly string[],
  trip: Trip,
): Promise<void> {
  trip.begin("nats", names.length);
  const isIn = isClustered(world);
  if (!isIn) await changeTo(world, "clustered");
  try {
    await whenFormed(world, names, trip);
  } catch (error) {
    if (!isIn) await leaveCluster(world, "planned");
    throw error;
  }
}

/** Restarts our nats-server out of the cluster. */
export async function leaveCluster(world: World, state: "planned" | "alone"): Promise<void> {
  await changeTo(world, state);
}

/** Whether our nats-server is in a cluster now. */
export function isClustered({ bus }: World): boolean {
  return Boolean((bus.connection.info as { cluster?: string } | undefined)?.cluster);
}

async function changeTo(world: World, state: NodeState): Promise<void> {
  const { change } = world.bus;
  if (change === null) {
    throw new StoreError("refused", "membershipd does not manage this nats-server", {
      hint: "use migrate-to-kv; see docs/migration.md",
    });
  }
  const { state: before } = await nodeOf(world);
  try {
    await change(await world.settingsIn(state), () => writeState(world, state));
  } catch (error) {
    await writeState(world, before);
    throw error;
  }
}

async function whenFormed(world: World, names: readonly string[], trip: Trip): Promise<void> {
  const deadline = Date.now() + FORMING_MS;
  for (;;) {
    const found = await lookAround(world, names, trip);
    if (found === null) return;
    if (Date.now() > deadline) {
      throw new StoreError(
        "unavailable",
        `Entering the cluster: within ${FORMING_MS / 1000} s it did not come about (${found})`,
        {
          hint: "check that the nodes run and reach each other's cluster ports; see membershipd " +
            "cluster status",
        },
      );
    }
    await pause(LOOK_MS, trip.signal);
  }
}

/** Returns what is missing in the cluster; null if it is there. */
async function lookAround(
  world: World,
  names: readonly string[],
  trip: Trip,
): Promise<string | null> {
  const { connection } = world.bus;
  const present = new Set((await askPresence(connection, names)).map((it) => it.node));
  const missing = names.filter((it) => !present.has(it));
  trip.tell({ done: names.length - missing.length });
  if (missing.length > 0) return `${missing.join(", ")} missing`;
  // Only a leader answers.
  const answer = findStream(connection, "KV_UNIBUS", Date.now() + ASK_MS, trip.signal);
  return await answer.then(() => null, () => "it has no leader");
}

/** Waits until no other node serves a bucket, for a short time: one that is cut off sees it later. */
export async function whenOthersLeft({ bus }: World, bucket: string): Promise<void> {
  const { connection, node } = bus;
  const deadline = Date.now() + LEAVING_MS;
  const info = await findStream(connection, `KV_${bucket}`, deadline).catch(() => null);
  const others = info === null
    ? []
    : copiesOf(info).map((it) => it.node).filter((it) => it !== node);
  while (Date.now() < deadline) {
    const present = await askPresence(connection, others);
    if (others.every((it) => present.some((at) => at.node === it && at.bucket === null))) return;
    await pause(LOOK_MS);
  }
}
