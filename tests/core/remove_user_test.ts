/** A user who is deleted, and added again with the same key: with its rooms, or without. */

import assert from "node:assert/strict";
import { openJetStream, openSqlite, removeUser, type Store } from "@unibus/membership";
import { fails, invite, newMember, newRoom, newUser } from "../conformance/kit/kit.ts";
import { cli } from "../cli/kit.ts";
import { testPlane } from "../http/kit.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";

/** A user who owns a room and is in others, more than a page and one offered. */
async function scene(store: Store, rooms = 5) {
  const me = newMember();
  const user = newUser({ signPub: me.endpoint, kexPub: me.kexPub });
  await store.addUser(user);
  await store.createRoom(newRoom("mine", { owner: me }));
  const others = Array.from({ length: rooms }, (_, i) => `room${String(i).padStart(4, "0")}`);
  for (const [i, id] of others.entries()) {
    await store.createRoom(newRoom(id, { members: [{ ...me, accepted: i > 0 }] }));
  }
  return { user, endpoint: me.endpoint, rooms: others };
}

const BACKENDS: [string, (work: (store: Store) => Promise<void>) => Promise<void>][] = [
  ["sqlite", async (work) => {
    await using store = openSqlite(":memory:");
    await work(store);
  }],
  ["jetstream", async (work) => {
    await using server = await testServer();
    await using store = await openJetStream({ servers: server.url });
    await work(store);
  }],
];

for (const [backend, on] of BACKENDS) {
  Deno.test(`${backend}: a removed user who is added again is in the rooms it owns only`, () =>
    on(async (store) => {
      const { user, endpoint, rooms } = await scene(store);
      const listed = async (accepted?: boolean) => {
        const page = accepted === undefined ? {} : { accepted };
        return (await store.listRoomsForEndpoint(endpoint, page)).items.map((it) => it.id);
      };
      assert.equal((await listed()).length, 6);
      await removeUser(store, endpoint.toUpperCase());
      await fails("not_found", store.getUser(endpoint));
      assert.deepEqual(await listed(), ["mine"]);
      for (const id of rooms) await fails("not_found", store.getMember(id, endpoint));
      await store.addUser(user);
      assert.deepEqual(await listed(), ["mine"]);
      assert.deepEqual(await listed(true), ["mine"]);
      // By an invite too.
      await removeUser(store, endpoint);
      const { token } = await invite(store);
      await store.consumeInvite(token, { ...user, signPub: endpoint });
      assert.deepEqual(await listed(), ["mine"]);
      await fails("not_found", removeUser(store, newMember().endpoint));
    }));

  Deno.test(`${backend}: the last admin is not removed, nor taken out of its rooms, without force`, () =>
    on(async (store) => {
      const { endpoint } = await scene(store);
      await store.setUserRole(endpoint, "admin");
      await fails("last_admin", removeUser(store, endpoint));
      assert.equal(await store.isAuthorized(endpoint), true);
      assert.equal((await store.listRoomsForEndpoint(endpoint)).items.length, 6);
      await removeUser(store, endpoint, { force: true });
      assert.equal((await store.listRoomsForEndpoint(endpoint)).items.length, 1);
    }));
}

Deno.test("a removal that is interrupted leaves no access, and is completed by another", async () => {
  await using store = openSqlite(":memory:");
  const { endpoint } = await scene(store, 1100);
  let left = 1050;
  const broken: Store = {
    ...store,
    removeMember: (...args) =>
      left-- > 0 ? store.removeMember(...args) : Promise.reject(new Error("killed")),
  };
  await assert.rejects(removeUser(broken, endpoint), /killed/);
  assert.equal(await store.isAuthorized(endpoint), false);
  assert.equal((await store.getUser(endpoint)).status, "revoked");
  await removeUser(store, endpoint);
  assert.deepEqual((await store.listRoomsForEndpoint(endpoint)).items.map((it) => it.id), ["mine"]);
});

Deno.test("memberships that end while a user is removed are no failure, others are", async () => {
  await using store = openSqlite(":memory:");
  const { endpoint } = await scene(store);
  const twice: Store = {
    ...store,
    removeMember: async (...args) => {
      await store.removeMember(...args);
      await store.removeMember(...args);
    },
  };
  await removeUser(twice, endpoint);
  await fails("not_found", store.getUser(endpoint));
});

Deno.test("DELETE /v1/users ends memberships, and keeps them where that is asked for", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  for (const [query, rooms] of [["", 1], ["?force=true", 1], ["?keepMemberships=true", 6]]) {
    const { endpoint } = await scene(it.store);
    const answer = await it.ask(`DELETE /v1/users/${endpoint}${query}`, { as: admin });
    assert.equal(answer.status, 204, answer.text);
    await fails("not_found", it.store.getUser(endpoint));
    const { items } = await it.store.listRoomsForEndpoint(endpoint);
    assert.equal(items.length, rooms, String(query));
    for (const { id } of (await it.store.listRooms()).items) await it.store.deleteRoom(id);
  }
});

Deno.test("user delete ends memberships", () =>
  inDir(async (dir) => {
    const db = `${dir}/a.db`;
    await using store = openSqlite(db);
    const { endpoint } = await scene(store);
    const { code, stderr } = await cli(["user", "delete", endpoint, "--db", db]);
    assert.equal(code, 0, stderr);
    assert.equal((await store.listRoomsForEndpoint(endpoint)).items.length, 1);
  }));
