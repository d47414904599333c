/**
 * From one file to a bucket and back, again and again, while the store is written and read.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { growStore, openJetStream, openSqlite, shrinkStore, type Store } from "../../../mod.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { checkAdded, populate, snapshot } from "../kit.ts";
import {
  bucketOf,
  failure,
  type Place,
  roleIn,
  toN1,
  usersIn,
  whoServes,
  withPlace,
} from "./shrink_kit.ts";

const ROUNDS = Number(Deno.env.get("ROUND_TRIPS") ?? 3);

let server: TestServer;
Deno.test.beforeAll(async () => void (server = await testServer()));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

/** Moves a store into the bucket of a place. */
async function grow(store: Store, { nats, follower }: Place): Promise<void> {
  // A busy machine must not make what it knows too old, or a write too slow.
  const patient = { ...nats, maxStaleness: 60_000, opTimeout: 60_000 };
  const target = await openJetStream({ ...patient, follower, allowInProgress: true });
  await growStore(store, { target });
}

Deno.test(`${ROUNDS} round trips while it is written and read: nothing is lost, nobody is refused`, () =>
  withPlace(server.url, async (at) => {
    await using store = openSqlite(at.db);
    await populate(store);
    const ada = person("ada").signPub;
    const acknowledged: string[] = [];
    const failures: unknown[] = [];
    let stopped = false;
    const writing = [1, 2].map(async (i) => {
      for (let n = 0; !stopped; n++) {
        const user = person(`r${i}_${n}`);
        await store.addUser(user).then(
          () => acknowledged.push(user.signPub),
          (error) => failures.push(error),
        );
        await pause(5);
      }
    });
    const reading = async () => {
      while (!stopped) {
        if (!await store.isAuthorized(ada)) failures.push("a no");
        await store.getUser(ada).catch((error) => failures.push(error));
        await pause(2);
      }
    };
    writing.push(reading());
    for (let round = 0; round < ROUNDS; round++) {
      await grow(store, at);
      assert.equal(store.backend, "jetstream");
      assert.equal(store.generation, 2 * round + 1);
      assert.equal((await bucketOf(at)).takesWrites, true);
      await pause(50);
      await shrinkStore(store, toN1(at));
      assert.equal(store.backend, "sqlite");
      assert.equal(store.generation, 2 * round + 2);
      assert.deepEqual(roleIn(at.db), { role: "primary", generation: 2 * round + 2 });
      assert.equal(existsSync(at.follower), false);
      await pause(50);
    }
    stopped = true;
    await Promise.all(writing);
    assert.deepEqual(failures, []);
    assert.equal(await whoServes(at, acknowledged), "file");
    const entries = await checkAdded(store, acknowledged);
    const moves = entries.filter(({ action }) => action === "store.moved");
    assert.equal(moves.length, 2 * ROUNDS);
    assert.equal(usersIn(at.db).length, acknowledged.length + 3);
    // What the bucket holds after one more move is what the file holds, record by record.
    const text = await snapshot(store);
    await grow(store, at);
    assert.equal(await snapshot(store), text);
  }));

Deno.test("an old copy of the file does not take the bucket again, nor does another control plane", () =>
  withPlace(server.url, async (at) => {
    await using store = openSqlite(at.db);
    await store.addUser(person("ada"));
    await grow(store, at);
    const { backup } = await shrinkStore(store, toN1(at));
    // As it was before the first move, of a lower generation.
    await using old = openSqlite(backup!, { allowMoved: true });
    await using other = openSqlite(`${at.dir}/other.db`);
    for (const wrong of [old, other]) {
      await using target = await openJetStream({ ...at.nats, allowInProgress: true });
      await assert.rejects(growStore(wrong, { target }), failure("refused"));
    }
    assert.equal((await bucketOf(at)).takesWrites, false);
    await grow(store, at);
    assert.equal(await store.isAuthorized(person("ada").signPub), true);
  }));

Deno.test("a store that was open before a move to a file and back does not write into the bucket", () =>
  withPlace(server.url, async (at) => {
    await using store = openSqlite(at.db);
    await store.addUser(person("ada"));
    await grow(store, at);
    await using before = await openJetStream(at.nats);
    assert.equal(await before.isAuthorized(person("ada").signPub), true);
    await shrinkStore(store, toN1(at));
    await grow(store, at);
    assert.equal(await before.isAuthorized(person("ada").signPub), false);
    await assert.rejects(before.addUser(person("bob")), failure("refused", "moved"));
    await using after = await openJetStream(at.nats);
    assert.equal(await after.isAuthorized(person("ada").signPub), true);
    await store.addUser(person("bob"));
    assert.equal((await after.getUser(person("bob").signPub))?.status, "active");
  }));
