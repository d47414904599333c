/**
 * Members: added, read, removed.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  collect,
  eventually,
  fails,
  hex,
  hexKey,
  keysFor,
  newMember,
  newRoom,
  newUser,
  sealed,
  snapshot,
} from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Registers the tests of members. */
export function members(it: It): void {
  it("createRoom() and addMember() take users", async ({ store }) => {
    const [ada, bob, eve] = [
      await store.addUser(newUser({ role: "admin" })),
      await store.addUser(newUser()),
      await store.addUser(newUser()),
    ];
    const sealedKeys = keysFor([ada.signPub, bob.signPub]);
    const room = { id: "r", subject: "unibus.r", owner: ada, members: [bob], sealedKeys };
    assert.equal((await store.createRoom(room)).owner, ada.signPub);
    const added = await store.addMember("r", eve);
    assert.deepEqual([added.endpoint, added.kexPub, added.role], [
      eve.signPub,
      eve.kexPub,
      "member",
    ]);
    const all = [ada, bob, eve].map(({ signPub }) => signPub).sort();
    assert.deepEqual((await collect(store.members("r"))).map((it) => it.endpoint), all);
    const { endpoint, kexPub } = newMember();
    const two = { signPub: bob.signPub, endpoint, kexPub };
    await fails("invalid", store.addMember("r", two), "member.endpoint");
  });

  it("addMember() adds a member, without a key where none is given", async ({ store, clock }) => {
    await store.createRoom(newRoom("r"));
    const who = newMember();
    clock.now += 1000;
    const expected = {
      roomId: "r",
      endpoint: who.endpoint,
      role: "member",
      signPub: who.endpoint,
      kexPub: who.kexPub,
      joinedAt: clock.iso(),
      accepted: true,
    };
    assert.deepEqual(await store.addMember("r", who), expected);
    assert.deepEqual(await store.getMember("r", who.endpoint), expected);
    assert.equal((await store.listMembers("r")).items.length, 2);
    await fails("not_found", store.getSealedKey("r", who.endpoint));
  });

  it("addMember() stores the sealed key given with the member", async ({ store, clock }) => {
    const input = newRoom("r");
    await store.createRoom(input);
    await store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor([input.owner]) });
    const who = newMember();
    const bytes = sealed();
    await store.addMember("r", who, { epoch: 2, sealedKey: bytes });
    const key = await store.getSealedKey("r", who.endpoint);
    assert.equal(hex(key.sealedKey), hex(bytes));
    assert.deepEqual([key.epoch, key.createdAt], [2, clock.iso()]);
    await fails("not_found", store.getSealedKey("r", who.endpoint, 1));
  });

  it("addMember() with a key of another epoch is conflict and adds nobody", async ({ store }) => {
    const input = newRoom("r");
    await store.createRoom(input);
    await store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor([input.owner]) });
    const before = await snapshot(store);
    for (const epoch of [1, 3, 2 ** 31 - 1]) {
      await fails("conflict", store.addMember("r", newMember(), { epoch, sealedKey: sealed() }));
    }
    assert.deepEqual(await snapshot(store), before);
  });

  it("addMember() of a member or the owner is member_exists", async ({ store }) => {
    const input = newRoom("r", { members: [newMember()] });
    await store.createRoom(input);
    const before = await snapshot(store);
    const key = { epoch: 1, sealedKey: sealed() };
    for (const { endpoint } of [input.owner, ...input.members!]) {
      await fails("member_exists", store.addMember("r", { endpoint, kexPub: hexKey() }));
      await fails("member_exists", store.addMember("r", { endpoint, kexPub: hexKey() }, key));
      const upper = { endpoint: endpoint.toUpperCase(), kexPub: hexKey() };
      await fails("member_exists", store.addMember("r", upper));
      await fails("member_exists", store.addMember("r", upper, { ...key, epoch: 9 }));
    }
    assert.deepEqual(await snapshot(store), before);
  });

  it("addMember() to no room is not_found", async ({ store }) => {
    await fails("not_found", store.addMember("r", newMember()));
    const key = { epoch: 1, sealedKey: sealed() };
    await fails("not_found", store.addMember("r", newMember(), key));
    assert.deepEqual(await snapshot(store), []);
  });

  it("addMember() to a cleartext room takes no key", async ({ store }) => {
    await store.createRoom(newRoom("clear", { encrypted: false }));
    const who = newMember();
    const key = { epoch: 1, sealedKey: sealed() };
    await fails("invalid", store.addMember("clear", who, key), "roomId");
    await fails("not_found", store.getMember("clear", who.endpoint));
    await store.addMember("clear", who);
    assert.equal((await store.listMembers("clear")).items.length, 2);
  });

  it("getMember() and listMembers() say not_found", async ({ store }) => {
    const input = newRoom("r");
    await store.createRoom(input);
    await fails("not_found", store.getMember("r", hexKey()));
    await fails("not_found", store.getMember("other", input.owner.endpoint));
    await fails("not_found", store.listMembers("other"));
  });

  it("removeMember() ends the membership and keeps the sealed keys", async ({ store }) => {
    const who = newMember();
    const input = newRoom("r", { members: [who] });
    await store.createRoom(input);
    const before = await store.getSealedKey("r", who.endpoint);
    assert.equal(await store.removeMember("r", who.endpoint), undefined);
    await fails("not_found", store.getMember("r", who.endpoint));
    assert.deepEqual((await store.listMembers("r")).items.map((m) => m.endpoint), [
      input.owner.endpoint,
    ]);
    assert.deepEqual((await store.listRoomsForEndpoint(who.endpoint)).items, []);
    assert.equal((await store.listSealedKeys("r")).items.length, 2);
    const after = await store.getSealedKey("r", who.endpoint);
    assert.equal(hex(after.sealedKey), hex(before.sealedKey));
    await fails("not_found", store.removeMember("r", who.endpoint));
  });

  it("removeMember() refuses the owner and says not_found", async ({ store }) => {
    const input = newRoom("r", { members: [newMember()] });
    await store.createRoom(input);
    const before = await snapshot(store);
    await fails("room_owner", store.removeMember("r", input.owner.endpoint));
    await fails("room_owner", store.removeMember("r", input.owner.endpoint.toUpperCase()));
    await fails("not_found", store.removeMember("r", hexKey()));
    await fails("not_found", store.removeMember("other", input.owner.endpoint));
    assert.deepEqual(await snapshot(store), before);
  });

  it("who was removed can be added again, as somebody new", async ({ store, clock }) => {
    const who = newMember();
    const input = newRoom("r", { members: [who] });
    await store.createRoom(input);
    await store.removeMember("r", who.endpoint);
    await store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor([input.owner]) });
    clock.now += 5;
    const again = { endpoint: who.endpoint, kexPub: hexKey() };
    const bytes = sealed();
    await store.addMember("r", again, { epoch: 2, sealedKey: bytes });
    const member = await store.getMember("r", who.endpoint);
    assert.deepEqual([member.kexPub, member.joinedAt], [again.kexPub, clock.iso()]);
    const latest = await store.getSealedKey("r", who.endpoint);
    assert.deepEqual([latest.epoch, hex(latest.sealedKey)], [2, hex(bytes)]);
    assert.equal((await store.getSealedKey("r", who.endpoint, 1)).epoch, 1);
    assert.equal((await store.listRoomsForEndpoint(who.endpoint)).items.length, 1);
  });

  it("one endpoint's memberships of several rooms are its own each", async ({ store }) => {
    const who = newMember();
    for (const id of ["a", "a.b", "b"]) await store.createRoom(newRoom(id, { members: [who] }));
    await store.removeMember("a", who.endpoint);
    await fails("not_found", store.getMember("a", who.endpoint));
    assert.equal((await store.getMember("a.b", who.endpoint)).roomId, "a.b");
    assert.equal((await store.getMember("b", who.endpoint)).roomId, "b");
  });

  it("countMembers() counts members as they come and go", async ({ store }) => {
    assert.equal(await store.countMembers("r"), 0);
    await store.createRoom(newRoom("r", { members: [newMember(), newMember()] }));
    await store.createRoom(newRoom("r.other"));
    assert.equal(await store.countMembers("r"), 3);
    const who = newMember();
    await store.addMember("r", who);
    assert.equal(await store.countMembers("r"), 4);
    await store.addMember("r.other", who);
    await store.removeMember("r", who.endpoint);
    assert.equal(await store.countMembers("r"), 3);
    assert.equal(await store.countMembers("r.other"), 2);
    // The same where memberships come from memory.
    await store.addUser({ signPub: who.endpoint, kexPub: who.kexPub, handle: "who" });
    await eventually("the user is known", () => store.isAuthorized(who.endpoint));
    assert.equal(await store.countMembers("r"), 3);
    await store.addMember("r", who);
    assert.equal(await store.countMembers("r"), 4);
    await store.deleteRoom("r");
    assert.equal(await store.countMembers("r"), 0);
    assert.equal(await store.countMembers("r.other"), 2);
  });
}
