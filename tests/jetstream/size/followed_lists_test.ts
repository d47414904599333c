/** The first list of a store takes its keys from the follower, and what came later from the stream. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openJetStream, type Store } from "../../../mod.ts";
import { openBucket } from "../../../src/jetstream/mod.ts";
import { roomKey, userKey } from "../../../src/jetstream/records/keys.ts";
import { until } from "../../cli/serve/kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { failsWith, hex, inDir, newRoom, person } from "../../helpers/sqlite.ts";
import { fill, keyOf, roomId, rooms, users } from "../../tools/many.ts";
import { rawBucket } from "../../follower/kit.ts";

const USERS = 4500;

async function everyUser(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for (let after: string | null = null;;) {
    const page = await store.listUsers({ limit: 1000, after });
    keys.push(...page.items.map((it) => it.signPub));
    after = page.next;
    if (after === null) return keys;
  }
}

Deno.test("the first lists of a store with a follower are those of a store without one", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url, bucket: "LISTS" };
    const { bucket, end } = await openBucket(nats);
    const of = Array.from({ length: 20 }, (_, n) => ({ id: roomId(n), members: [n, n + 1] }));
    await fill(bucket, rooms(of), users(USERS));
    await end();
    const options = { ...nats, follower: `${dir}/f.db` };
    {
      // The file is being loaded.
      await using store = await openJetStream(options);
      assert.equal((await everyUser(store)).length, USERS);
      await store.addUser(person("first"));
      await store.deleteUser(person("first").signPub);
    }
    await using other = await openJetStream(nats);
    await other.deleteUser(keyOf(7));
    await using store = await openJetStream(options);
    // The follower may or may not have these.
    await other.deleteUser(keyOf(8));
    await other.addUser(person("late"));
    await other.createRoom(newRoom("room-000005-late"));
    await store.addUser(person("own"));
    const keys = Array.from({ length: USERS }, (_, n) => keyOf(n))
      .filter((key) => key !== keyOf(7) && key !== keyOf(8));
    assert.deepEqual(
      await everyUser(store),
      [...keys, person("late").signPub, person("own").signPub].sort(),
    );
    const found = (await store.listRooms()).items.map((it) => it.id);
    assert.deepEqual(found, [...of.map((it) => it.id), "room-000005-late"].sort());
    assert.deepEqual((await store.listInvites()).items, []);
    await other.deleteUser(keyOf(9));
    assert.equal((await everyUser(store)).includes(keyOf(9)), false);
  }));

Deno.test("the keys of a first list are read from the follower's file", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url, bucket: "LISTS" };
    const { bucket, end } = await openBucket(nats);
    await fill(bucket, users(100));
    await end();
    const path = `${dir}/f.db`;
    await using store = await openJetStream({ ...nats, follower: path });
    await store.addUser(person("ada"));
    // Waits for the follower.
    await until(
      async () => (await store.search!.users().catch(() => null))?.items.length === 101,
      "the follower",
    );
    const db = new DatabaseSync(path);
    db.exec("PRAGMA busy_timeout = 5000");
    db.prepare("DELETE FROM follower_entries WHERE key = ?").run(userKey(keyOf(5)));
    db.close();
    const found = await everyUser(store);
    assert.equal(found.length, 100);
    assert.equal(found.includes(keyOf(5)), false);
  }));

Deno.test("a list with a key that cannot be read fails from a follower too", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url, bucket: "LISTS" };
    {
      await using store = await openJetStream({ ...nats, follower: `${dir}/f.db` });
      await store.addUser(person("ada"));
      await store.createRoom(newRoom("one"));
    }
    await using raw = await rawBucket(server.url, "LISTS");
    await raw.put("users.notakey", "{}");
    await raw.put(roomKey(hex("x")), "{}");
    await using store = await openJetStream({ ...nats, follower: `${dir}/f.db` });
    await failsWith("corrupt", () => store.listUsers());
    await failsWith("corrupt", () => store.listRooms());
  }));
