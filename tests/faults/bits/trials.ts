/**
 * Trials: each damages a copy of a world in one way and judges what comes of it.
 *
 * @module
 */

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isStoreError, type StoreError } from "../../../mod.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import { openBucket } from "../../../src/jetstream/mod.ts";
import { ensureStream } from "../../../src/jetstream/log/stream.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import type { Random } from "../../tools/random.ts";
import { cutTail, flipBit, removeIndex } from "./damage.ts";
import { Asking, changedKeys, judge, type Outcome, sample, settle } from "./judge.ts";
import { flipWhileFollowed } from "./live_file.ts";
import { type World, writeUsers } from "./world.ts";

/** A trial by its name; says what it did with `note`. */
export type Trial = (
  world: World,
  random: Random,
  note: (damage: string) => void,
) => Promise<Outcome>;

/** Trials on a lone server. */
export const TRIALS: Record<string, Trial> = {
  flip: stopped(flipBit),
  flip_no_index: stopped(async (store, random) => {
    await removeIndex(store);
    return await flipBit(store, random);
  }),
  tail: stopped(async (store, random) => {
    await removeIndex(store);
    return await cutTail(store, random);
  }),
  tail_index: stopped(cutTail),
  put_back: (world, random, note) =>
    onCopy(world, "early", async (server, follower) => {
      const writes = random.pick([0, 1, 100, world.bad.length, 3 * world.bad.length]);
      note(`${writes} writes since`);
      await writeUsers(server.url, writes, 1_000_000, () => true);
      return await judge(world, server.url, follower, false);
    }),
  made_again: (world, random, note) =>
    onCopy(world, random.chance(0.5) ? "store" : "early", async (server, follower) => {
      await makeAgain(server, world, random, note);
      return await judge(world, server.url, follower, false);
    }),
  live_flip: live(async (store, random) => {
    if (random.chance(0.5)) await removeIndex(store);
    return await flipBit(store, random);
  }),
  live_put_back: live(async (store, _, world) => {
    await rm(store, { recursive: true });
    await cp(`${world.folder}/early`, store, { recursive: true });
    return "the disk before anybody was revoked";
  }),
  live_file: (world, random, note) =>
    onCopy(
      world,
      "store",
      (server, follower) => flipWhileFollowed(world, server.url, follower, random, note),
    ),
};

/** Runs a trial with a server on a copy of a world's disk. */
async function onCopy(
  world: World,
  disk: "store" | "early",
  work: (server: TestServer, follower: string, folder: string) => Promise<Outcome>,
  damage?: (store: string) => Promise<void>,
): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), "unibus-bits-"));
  try {
    const [store, follower] = [`${folder}/store`, `${folder}/follower.db`];
    await cp(`${world.folder}/${disk}`, store, { recursive: true });
    await cp(`${world.folder}/follower.db`, follower);
    await damage?.(store);
    let server: TestServer;
    try {
      server = await testServer({ jetstream: { storeDir: store } });
    } catch (error) {
      if (!isStoreError(error, "unavailable")) throw error;
      return { noticed: "closed", letIn: 0, changed: null, detail: error.message };
    }
    try {
      return await work(server, follower, store);
    } finally {
      await server[Symbol.asyncDispose]();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A damage while the server is stopped and no store is open. */
function stopped(damage: (store: string, random: Random) => Promise<string>): Trial {
  return (world, random, note) => {
    const readFirst = random.chance(0.5);
    const look = (server: TestServer, follower: string) =>
      judge(world, server.url, follower, readFirst);
    return onCopy(world, "store", look, async (store) => note(await damage(store, random)));
  };
}

/** A damage while a store is open: it connects again. */
function live(
  damage: (store: string, random: Random, world: World) => Promise<string>,
): Trial {
  return (world, random, note) =>
    onCopy(world, "store", async (server, follower, folder) => {
      const { promise: alarmed, resolve } = Promise.withResolvers<StoreError>();
      const options = { servers: server.url, follower, onAlarm: resolve };
      const opened = await openFollowed(options);
      await using store = opened.store;
      // Half of them have nothing in memory.
      if (random.chance(0.5)) await store.isAuthorized(world.good[0]!);
      await server.stop();
      note(await damage(folder, random, world));
      const { bad, good } = sample(world, null, 300);
      const asking = new Asking(store, bad, good);
      await server.restart();
      const changed = await changedKeys(server.url, world.content);
      const result = await settle(opened, asking, alarmed, changed);
      await asking.end();
      return { ...result, letIn: asking.letIn.size, changed: changed?.length ?? null };
    });
}

/** Deletes the bucket and makes it again: empty, or with all users, of whom nobody is revoked. */
async function makeAgain(
  server: TestServer,
  world: World,
  random: Random,
  note: (damage: string) => void,
): Promise<void> {
  const { bucket, end } = await openBucket({ servers: server.url });
  await bucket.nc.request(`$JS.API.STREAM.DELETE.${bucket.stream}`);
  await ensureStream(bucket, { create: true, resize: true, deadline: Date.now() + 5000 });
  await end();
  const users = random.pick([0, 1, world.bad.length + world.good.length]);
  note(`made again with ${users} users`);
  await writeUsers(server.url, users, 0, () => true);
}
