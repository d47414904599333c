/**
 * Single flips on the disk of one node of three while it is stopped. The node comes back with a store
 * that is open on it, or one is opened.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isStoreError, openJetStream, type StoreError } from "../../../mod.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import { testCluster, type TestServer } from "../../helpers/nats.ts";
import { Random } from "../../tools/random.ts";
import { flipBit, removeIndex } from "./damage.ts";
import { Asking, changedKeys, type Outcome, sample, settle } from "./judge.ts";
import { contentOf, shutOut, type World, writeUsers } from "./world.ts";

/** Told of each trial. */
export type Add = (
  kind: string,
  i: number,
  damage: string,
  began: number,
  outcome: Outcome,
) => void;

/** How long a cluster may take to be whole, milliseconds. */
const READY = 120_000;

/** Damages one node of a cluster again and again; its replica is replaced between trials. */
export async function clusterTrials(count: number, seed: string, add: Add): Promise<void> {
  if (count === 0) return;
  const users = 300;
  const folder = await mkdtemp(join(tmpdir(), "unibus-bits-"));
  await using cluster = await testCluster(3);
  const world: World = { folder, bad: [], good: [], content: new Map() };
  {
    await using store = await openJetStream({ servers: cluster.urls, replicas: 3 });
    await writeUsers(cluster.urls[0]!, users, 0, () => true);
    await shutOut(cluster.urls[0]!, users, world);
    await store.health();
  }
  world.content = await contentOf(cluster.urls[0]!);
  try {
    for (let i = 0; i < count; i++) {
      const random = new Random(`${seed} cluster ${i}`);
      const server = random.pick(cluster.servers);
      const name = `n${cluster.servers.indexOf(server) + 1}`;
      const began = performance.now();
      const [outcome, damage] = await damaged(
        world,
        server,
        name,
        random,
        () => cluster.ready(READY),
      );
      add("one_of_three", i, damage, began, outcome);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function damaged(
  world: World,
  server: TestServer,
  name: string,
  random: Random,
  ready: () => Promise<void>,
): Promise<[Outcome, string]> {
  const disk = `${server.directory}/store`;
  const file = `${world.folder}/follower.db`;
  const { promise: alarmed, resolve } = Promise.withResolvers<StoreError>();
  const open = () =>
    openFollowed({ servers: server.url, follower: file, onAlarm: resolve, openShut: true });
  // Half of the stores are open before, and connect again.
  let opened = await open();
  const isLive = random.chance(0.5);
  if (!isLive) await opened.store.close();
  await server.stop();
  if (random.chance(0.5)) await removeIndex(disk);
  const damage = await flipBit(disk, random);
  let outcome: Outcome;
  try {
    await server.restart();
    if (!isLive) opened = await open();
    const { bad, good } = sample(world, null);
    const asking = new Asking(opened.store, bad, good);
    await ready();
    const changed = await changedKeys(server.url, world.content, name);
    const result = await settle(opened, asking, alarmed, changed);
    await asking.end();
    outcome = { ...result, letIn: asking.letIn.size, changed: changed?.length ?? null };
  } catch (error) {
    // A server that reads a damaged block may never be ready.
    if (server.running || !isStoreError(error, "unavailable")) throw error;
    outcome = { noticed: "closed", letIn: 0, changed: null, detail: error.message };
  }
  await opened.store.close();
  if (server.running) await server.stop();
  // As the alarm says; what the others have is replicated to it.
  await rm(disk, { recursive: true });
  await server.restart();
  await ready();
  return [outcome, `${isLive ? "open, " : ""}${damage}`];
}
