/**
 * Invites to a room: a user who used one waits until the room's owner adds it.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { CreatedInvite } from "../../../src/core/model.ts";
import type { Store } from "../../../src/core/store.ts";
import { byBytes } from "../kit/ids.ts";
import {
  claim,
  collect,
  everyPage,
  fails,
  invite,
  keysFor,
  newMember,
  newRoom,
  newUser,
  plain,
} from "../kit/kit.ts";
import type { It } from "../suite.ts";

function inviteTo(store: Store, room: string): Promise<CreatedInvite> {
  return store.createInvite({ createdBy: "cli", room });
}

async function namesOf(store: Store, room: string): Promise<string[]> {
  return (await collect(store.waiting(room))).map((it) => it.handle).sort();
}

/** Claims an invite to a room with new keys. */
async function arrive(store: Store, room: string, handle: string) {
  const { token } = await inviteTo(store, room);
  return await store.consumeInvite(token, claim({ handle }));
}

/** Registers the tests of invites to rooms. */
export function waiting(it: It): void {
  it("createInvite() takes a room, which must exist", async ({ store }) => {
    await store.createRoom(newRoom("küche-🍲"));
    const { invite: made } = await inviteTo(store, "küche-🍲");
    assert.equal(made.room, "küche-🍲");
    assert.deepEqual(await store.getInvite(made.id), made);
    const { invite: plain } = await invite(store);
    assert.deepEqual([Object.hasOwn(plain, "room"), (await store.listInvites()).items.length], [
      false,
      2,
    ]);
    await fails("not_found", inviteTo(store, "none"), "room");
    await fails("invalid", inviteTo(store, "no spaces"), "room");
    await store.deleteRoom("küche-🍲");
    await fails("not_found", inviteTo(store, "küche-🍲"), "room");
    assert.deepEqual((await store.cancelInvite(made.id)).room, "küche-🍲");
  });

  it("a user waits for the room of its invite until it is added, and not after it left", async (scene) => {
    const { store } = scene;
    const owner = newMember();
    await store.createRoom(newRoom("kitchen", { owner }));
    await store.createRoom(newRoom("garden"));
    const bob = await arrive(store, "kitchen", "bob");
    assert.equal(bob.invitedTo, "kitchen");
    assert.deepEqual(await store.getUser(bob.signPub), bob);
    assert.deepEqual((await store.listWaiting("kitchen")).items, [bob]);
    assert.deepEqual(await namesOf(store, "garden"), []);
    // A member is all that it was before.
    await fails("not_found", store.getMember("kitchen", bob.signPub));
    const rekey = { epoch: 2, sealedKeys: keysFor([owner]) };
    assert.equal((await store.rekeyRoom("kitchen", rekey)).epoch, 2);
    // Another room's owner cannot take it off the list.
    await store.addMember("garden", bob);
    assert.deepEqual(await namesOf(store, "kitchen"), ["bob"]);
    await store.addMember("kitchen", { ...bob, accepted: false });
    const { invitedTo: _, ...added } = bob;
    assert.deepEqual(await store.getUser(bob.signPub), added);
    assert.deepEqual(await namesOf(store, "kitchen"), []);
    await store.removeMember("kitchen", bob.signPub);
    assert.deepEqual(await namesOf(store, "kitchen"), []);
    assert.deepEqual(await store.getUser(bob.signPub), added);
    // Another invite makes it wait again.
    const { token } = await inviteTo(store, "kitchen");
    await fails("user_exists", store.consumeInvite(token, bob));
    assert.deepEqual((await store.listWaiting("kitchen")).items, [bob]);
  });

  it("a user waits for the room of the last invite it used, unless it is a member", async (scene) => {
    const { store } = scene;
    for (const id of ["a", "b"]) await store.createRoom(newRoom(id));
    const user = await arrive(store, "a", "ada");
    const again = async (room?: string) => {
      const { token } = room === undefined ? await invite(store) : await inviteTo(store, room);
      await fails("user_exists", store.consumeInvite(token, user));
      return [await namesOf(store, "a"), await namesOf(store, "b")];
    };
    assert.deepEqual(await again(), [["ada"], []]);
    assert.deepEqual(await again("b"), [[], ["ada"]]);
    await store.addMember("b", user);
    assert.deepEqual(await again("b"), [[], []]);
    assert.deepEqual(await again("a"), [["ada"], []]);
    await store.removeMember("b", user.signPub);
    assert.deepEqual(await namesOf(store, "b"), []);
    // It may be a member before it is a user.
    const early = newUser({ handle: "early" });
    await store.addMember("a", early);
    const { token } = await inviteTo(store, "a");
    const claimed = await store.consumeInvite(token, early);
    assert.equal(Object.hasOwn(claimed, "invitedTo"), false);
    await store.removeMember("a", early.signPub);
    assert.deepEqual(await namesOf(store, "a"), ["ada"]);
  });

  it("only active users wait, and only while there is the room", async ({ store, clock }) => {
    await store.createRoom(newRoom("kitchen"));
    const bob = await arrive(store, "kitchen", "bob");
    const eve = await arrive(store, "kitchen", "eve");
    assert.deepEqual(await namesOf(store, "kitchen"), ["bob", "eve"]);
    await store.revokeUser(bob.signPub);
    await store.setUserRole(eve.signPub, "admin");
    assert.deepEqual(await namesOf(store, "kitchen"), ["eve"]);
    await store.restoreUser(bob.signPub);
    assert.deepEqual(await namesOf(store, "kitchen"), ["bob", "eve"]);
    await store.deleteUser(bob.signPub);
    await store.addUser({ ...claim(), signPub: bob.signPub });
    assert.deepEqual(await namesOf(store, "kitchen"), ["eve"]);
    // What is left of the invites does not matter.
    clock.now += 1;
    assert.equal(await store.pruneInvites(clock.iso()), 2);
    assert.deepEqual(await namesOf(store, "kitchen"), ["eve"]);
    await fails("not_found", store.listWaiting("none"), "room");
    await store.deleteRoom("kitchen");
    await fails("not_found", store.listWaiting("kitchen"), "room");
    // It became a member in another way: it does not wait, also when it is removed.
    await store.createRoom(
      newRoom("kitchen", { members: [{ ...newMember(), endpoint: eve.signPub }] }),
    );
    assert.deepEqual(await namesOf(store, "kitchen"), []);
    await store.removeMember("kitchen", eve.signPub);
    assert.deepEqual(await namesOf(store, "kitchen"), []);
  });

  it("who was invited to a room meets no other of the same id", async ({ store, clock }) => {
    await store.createRoom(newRoom("kitchen"));
    const { token } = await inviteTo(store, "kitchen");
    await arrive(store, "kitchen", "bob");
    await store.deleteRoom("kitchen");
    clock.now += 61_000;
    await store.createRoom(newRoom("kitchen"));
    assert.deepEqual(await namesOf(store, "kitchen"), []);
    const eve = await store.consumeInvite(token, claim({ handle: "eve" }));
    assert.equal(Object.hasOwn(eve, "invitedTo"), false);
    // The clock of another node is behind.
    clock.now -= 59_000;
    await arrive(store, "kitchen", "ada");
    assert.deepEqual(await namesOf(store, "kitchen"), ["ada"]);
  });

  it("listWaiting() pages by signPub, and every handle sees the same", async (scene) => {
    const { store } = scene;
    await store.createRoom(newRoom("kitchen"));
    const users = [];
    for (let i = 0; i < 7; i++) users.push(await arrive(store, "kitchen", `user ${i}`));
    const added = users.pop()!;
    await store.addMember("kitchen", added);
    const keys = users.map((user) => user.signPub).sort(byBytes);
    for (const limit of [1, 2, 5, 6, 10_000]) {
      const found = await everyPage((p) => store.listWaiting("kitchen", p), limit);
      assert.deepEqual(found.map((user) => user.signPub), keys, `by ${limit}`);
    }
    assert.equal((await store.listWaiting("kitchen", { limit: 6 })).next, null);
    if (!scene.capabilities.multipleHandles) return;
    // One that has read nothing yet.
    const other = await scene.open();
    const found = await collect(other.waiting("kitchen", { limit: 4 }));
    assert.deepEqual(found.map((user) => user.signPub), keys);
    await other.addMember("kitchen", users[0]!);
    assert.equal((await collect(other.waiting("kitchen"))).length, 5);
    await store.isAuthorized(added.signPub);
    await store.removeMember("kitchen", users[0]!.signPub);
    assert.equal((await collect(store.waiting("kitchen"))).length, 5);
  });

  it("a claim and its admission at once leave a member that does not wait", async (scene) => {
    const { store } = scene;
    await store.createRoom(newRoom("kitchen", { encrypted: false }));
    const people = await Promise.all(Array.from({ length: 12 }, async (_, i) => {
      return { token: (await inviteTo(store, "kitchen")).token, who: claim({ handle: `${i}` }) };
    }));
    await Promise.all(people.flatMap(({ token, who }) => [
      store.consumeInvite(token, who),
      store.addMember("kitchen", who),
    ]));
    assert.deepEqual(await namesOf(store, "kitchen"), []);
    await Promise.all(people.map(({ who }) => store.removeMember("kitchen", who.signPub)));
    assert.deepEqual(await namesOf(store, "kitchen"), []);
  });

  it("records of invites to a room are restored as they were", async (scene) => {
    const { store } = scene;
    await store.createRoom(newRoom("kitchen"));
    const bob = await arrive(store, "kitchen", "bob");
    await inviteTo(store, "kitchen");
    const records = await collect(store.records());
    await store.deleteUser(bob.signPub);
    await store.restore(records, { replace: true });
    assert.deepEqual(plain(await collect(store.records())), plain(records));
    assert.deepEqual((await store.listWaiting("kitchen")).items, [bob]);
  });

  it("the history of a room tells of its invites", async ({ store }) => {
    await store.createRoom(newRoom("kitchen"));
    const { invite: made, token } = await inviteTo(store, "kitchen");
    const bob = await store.consumeInvite(token, claim({ handle: "bob" }));
    const { items } = await store.history({ room: "kitchen", newest: true, limit: 2 });
    const { role, expiresAt, id } = made;
    assert.deepEqual(
      items.map(({ action, user, invite, after }) => [action, user, invite, after]),
      [
        ["invite.claimed", bob.signPub, id, { handle: "bob", role }],
        ["invite.created", null, id, { role, expiresAt }],
      ],
    );
  }, "history");
}
