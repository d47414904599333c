/**
 * Opening and closing: what is written stays, what is closed says so. Each written once, for
 * every method.
 *
 * @module
 */

import assert from "node:assert/strict";
import { invariantProblems } from "../kit/invariants.ts";
import {
  claim,
  eventually,
  fails,
  hexKey,
  newMember,
  newRoom,
  newUser,
  snapshot,
} from "../kit/kit.ts";
import { outcomes } from "../kit/kit.ts";
import { HISTORY_METHODS, METHODS, seedStore } from "../kit/methods.ts";
import type { It } from "../suite.ts";

/** Registers the tests of opening and closing. */
export function lifecycle(it: It): void {
  it("every method of the store is in the list that the traits go through", async ({ store }) => {
    const values = ["backend", "created", "generation", "search", "revision", "close"];
    // Not every backend keeps a history: see history.ts.
    const others = [...values, ...HISTORY_METHODS];
    const own = Object.keys(store).filter((key) => !others.includes(key));
    assert.deepEqual(own.sort(), METHODS.map((method) => method.name).sort());
    assert.equal(typeof store.backend, "string");
    assert.equal(typeof store.created, "boolean");
    await Promise.resolve();
  });

  it("every method rejects with closed when closed, or answers no", async ({ store }) => {
    const seed = await seedStore(store);
    await store.close();
    for (const method of METHODS) {
      if (method.failsClosed) assert.equal(await method.call(store, seed), false, method.name);
      else await fails("closed", () => method.call(store, seed));
    }
  });

  it("close() can be called again, at once and later, and by await using", async ({ open }) => {
    const store = await open();
    await Promise.all([store.close(), store.close()]);
    await store.close();
    await store[Symbol.asyncDispose]();
    await fails("closed", store.listRooms());
  }, "multipleHandles");

  it("closing one handle leaves another working", async ({ store, open }) => {
    const other = await open();
    await store.addUser(newUser());
    await store.close();
    assert.equal((await other.listUsers()).items.length, 1);
    await other.addUser(newUser());
    assert.equal((await other.listUsers()).items.length, 2);
  }, "multipleHandles");

  for (const method of METHODS) {
    it(`${method.name}() works after reopening, and lasts`, async ({ store, reopen }) => {
      const seed = await seedStore(store);
      const before = await snapshot(store);
      const answer = method.reads ? await method.call(store, seed) : undefined;
      const second = await reopen();
      assert.deepEqual(await snapshot(second), before);
      const result = await method.call(second, seed);
      const after = await snapshot(second);
      if (method.reads) {
        assert.deepEqual(result, answer);
        assert.deepEqual(after, before);
      } else {
        assert.notDeepEqual(after, before);
      }
      const third = await reopen();
      assert.deepEqual(await snapshot(third), after);
      assert.deepEqual(await invariantProblems(third), []);
    }, "reopen");
  }

  it("isAuthorized() and hasAdmin() know at once what was there when opened", async (scene) => {
    const seed = await seedStore(scene.store);
    const again = await scene.reopen();
    assert.equal(await again.isAuthorized(seed.admin), true);
    assert.equal(await again.hasAdmin(), true);
    assert.equal(await again.isAuthorized(seed.revoked), false);
    assert.equal((await again.getMember("seed.room", seed.member.endpoint)).role, "member");
    assert.equal((await again.listRoomsForEndpoint(seed.member.endpoint)).items.length, 2);
  }, "reopen");

  it("one handle sees what another was told is done", async ({ store, open }) => {
    const other = await open();
    const user = newUser({ role: "admin" });
    const me = { endpoint: user.signPub, kexPub: user.kexPub };
    await store.addUser(user);
    assert.equal((await other.getUser(user.signPub)).handle, user.handle);
    await store.createRoom(newRoom("r", { owner: me }));
    assert.equal((await other.getRoom("r")).owner, me.endpoint);
    assert.equal((await other.listMembers("r")).items.length, 1);
    assert.equal((await other.getSealedKey("r", me.endpoint)).epoch, 1);
    assert.equal((await snapshot(other)).length, 4);
    await fails("room_exists", other.createRoom(newRoom("r")));
    await fails("user_exists", other.addUser(user));
    // These may be answered from memory that the other handle's changes reach a moment later.
    await eventually("authorized", () => other.isAuthorized(user.signPub));
    await eventually("has admin", () => other.hasAdmin());
    const rooms = async () => (await other.listRoomsForEndpoint(me.endpoint)).items.length;
    await eventually("is a member", async () => await rooms() === 1);
    await store.revokeUser(user.signPub, { force: true });
    await eventually("revoked", async () => !(await other.isAuthorized(user.signPub)));
    await eventually("no admin", async () => !(await other.hasAdmin()));
    await store.deleteRoom("r");
    await fails("not_found", other.getRoom("r"));
    await eventually("no member", async () => await rooms() === 0);
  }, "multipleHandles");

  it("a handle reads its own writes at once, 100 times over", async ({ store }) => {
    const room = newRoom("r");
    await store.createRoom(room);
    for (let i = 0; i < 100; i++) {
      const user = newUser();
      await store.addUser(user);
      assert.equal(await store.isAuthorized(user.signPub), true);
      const who = newMember();
      await store.addMember("r", who);
      assert.equal((await store.listRoomsForEndpoint(who.endpoint)).items.length, 1);
      await store.revokeUser(user.signPub);
      assert.equal(await store.isAuthorized(user.signPub), false);
      await store.removeMember("r", who.endpoint);
      await fails("not_found", store.getMember("r", who.endpoint));
      assert.equal((await store.listRoomsForEndpoint(who.endpoint)).items.length, 0);
    }
  });

  it("close() with work under way keeps what was answered", async ({ store, open, reopen }) => {
    const { token } = await store.createInvite({ createdBy: "cli", role: "admin" });
    const doomed = await open();
    const members = [newMember(), newMember()];
    const ids = Array.from({ length: 20 }, (_, i) => `r.${i}`);
    const calls = ids.map((id) => doomed.createRoom(newRoom(id, { members })));
    const user = claim({ signPub: hexKey() });
    calls.push(doomed.consumeInvite(token, user) as never);
    await Promise.resolve();
    const closing = doomed.close();
    const ended = await outcomes(calls);
    await closing;
    for (const word of ended) assert.ok(["ok", "closed", "unavailable"].includes(word), word);
    const after = await reopen();
    assert.deepEqual(await invariantProblems(after), []);
    const there = new Set((await after.listRooms()).items.map((r) => r.id));
    for (const [i, id] of ids.entries()) if (ended[i] === "ok") assert.ok(there.has(id), id);
    if (ended[20] === "ok") assert.equal(await after.isAuthorized(user.signPub), true);
  }, "multipleHandles");
}
