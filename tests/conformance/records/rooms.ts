/**
 * Rooms: made whole, read back, removed whole.
 *
 * @module
 */

import assert from "node:assert/strict";
import { collect, fails, hex, hexKey, keysFor, newMember, newRoom, snapshot } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Registers the tests of rooms. */
export function rooms(it: It): void {
  it("createRoom() returns and stores the room at epoch 1", async ({ store, clock }) => {
    const input = newRoom("ops.room", { subject: "unibus.ops" });
    const expected = {
      id: "ops.room",
      subject: "unibus.ops",
      encrypted: true,
      owner: input.owner.endpoint,
      epoch: 1,
      createdAt: clock.iso(),
    };
    assert.deepEqual(await store.createRoom(input), expected);
    assert.deepEqual(await store.getRoom("ops.room"), expected);
  });

  it("createRoom() stores owner, members and first sealed keys", async ({ store, clock }) => {
    const members = [newMember(), newMember(), newMember()];
    const input = newRoom("r", { members });
    await store.createRoom(input);
    const owner = input.owner.endpoint;
    const expected = [input.owner, ...members].map((m) => ({
      roomId: "r",
      endpoint: m.endpoint,
      role: m.endpoint === owner ? "owner" : "member",
      signPub: m.endpoint,
      kexPub: m.kexPub,
      joinedAt: clock.iso(),
      accepted: true,
    })).sort((a, b) => a.endpoint < b.endpoint ? -1 : 1);
    assert.deepEqual((await store.listMembers("r")).items, expected);
    assert.deepEqual(await store.getMember("r", owner), expected.find((m) => m.role === "owner"));
    for (const key of input.sealedKeys!) {
      const stored = await store.getSealedKey("r", key.endpoint);
      assert.equal(hex(stored.sealedKey), hex(key.sealedKey));
      assert.deepEqual([stored.roomId, stored.epoch, stored.createdAt], ["r", 1, clock.iso()]);
    }
    assert.equal((await store.listSealedKeys("r")).items.length, 4);
  });

  it("createRoom() makes a cleartext room without keys", async ({ store }) => {
    const room = await store.createRoom(newRoom("clear", { encrypted: false }));
    assert.equal(room.encrypted, false);
    assert.equal((await store.getRoom("clear")).encrypted, false);
    assert.deepEqual((await store.listSealedKeys("clear")).items, []);
  });

  it("createRoom() of a taken id is room_exists and changes nothing", async ({ store }) => {
    await store.createRoom(newRoom("r", { members: [newMember()] }));
    const before = await snapshot(store);
    await fails("room_exists", store.createRoom(newRoom("r", { members: [newMember()] })));
    await fails("room_exists", store.createRoom(newRoom("r", { encrypted: false })));
    assert.deepEqual(await snapshot(store), before);
  });

  it("createRoom() wants a key for each member and for nobody else", async ({ store }) => {
    const owner = newMember();
    const other = newMember();
    const make = (keys: ReturnType<typeof keysFor>, encrypted = true) =>
      store.createRoom({
        id: "r",
        subject: "s",
        encrypted,
        owner,
        members: [other],
        sealedKeys: keys,
      });
    await fails("invalid", make([]), "sealedKeys");
    await fails("invalid", make(keysFor([owner])), "sealedKeys");
    await fails("invalid", make(keysFor([other])), "sealedKeys");
    await fails("invalid", make(keysFor([owner, other, newMember()])), "sealedKeys");
    await fails("invalid", make(keysFor([owner, newMember()])), "sealedKeys");
    await fails("invalid", make(keysFor([owner, other, owner])), "sealedKeys[2].endpoint");
    await fails("invalid", make(keysFor([owner, other]), false), "sealedKeys");
    assert.deepEqual(await collect(store.records()), []);
  });

  it("createRoom() refuses somebody named twice", async ({ store }) => {
    const owner = newMember();
    const other = newMember();
    const upper = { endpoint: owner.endpoint.toUpperCase(), kexPub: owner.kexPub };
    const make = (members: typeof owner[]) =>
      store.createRoom({ id: "r", subject: "s", encrypted: false, owner, members });
    await fails("invalid", make([owner]), "members[0].endpoint");
    await fails("invalid", make([upper]), "members[0].endpoint");
    await fails("invalid", make([other, other]), "members[1].endpoint");
    await fails("not_found", store.getRoom("r"));
  });

  it("getRoom() and deleteRoom() of no room are not_found", async ({ store }) => {
    await store.createRoom(newRoom("here"));
    await fails("not_found", store.getRoom("nowhere"));
    await fails("not_found", store.deleteRoom("nowhere"));
    await fails("not_found", store.deleteRoom("here.too"));
  });

  it("deleteRoom() takes the room's members and sealed keys with it", async ({ store }) => {
    const input = newRoom("r", { members: [newMember()] });
    const endpoints = [input.owner, ...input.members!].map((m) => m.endpoint);
    await store.createRoom(input);
    await store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor(endpoints) });
    await store.removeMember("r", endpoints[1]!);
    assert.equal(await store.deleteRoom("r"), undefined);
    assert.deepEqual(await collect(store.records()), []);
    await fails("not_found", store.getRoom("r"));
    await fails("not_found", store.listMembers("r"));
    await fails("not_found", store.listSealedKeys("r"));
    await fails("not_found", store.deleteRoom("r"));
    for (const endpoint of endpoints) {
      await fails("not_found", store.getMember("r", endpoint));
      await fails("not_found", store.getSealedKey("r", endpoint));
      assert.deepEqual((await store.listRoomsForEndpoint(endpoint)).items, []);
    }
  });

  it("a deleted room's id can be used again, and starts afresh", async ({ store }) => {
    const first = newRoom("r");
    await store.createRoom(first);
    await store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor([first.owner]) });
    await store.deleteRoom("r");
    const second = newRoom("r");
    assert.equal((await store.createRoom(second)).epoch, 1);
    assert.deepEqual((await store.listMembers("r")).items.map((m) => m.endpoint), [
      second.owner.endpoint,
    ]);
    assert.equal((await store.listSealedKeys("r")).items.length, 1);
    await fails("not_found", store.getSealedKey("r", first.owner.endpoint));
  });

  it("deleteRoom() leaves rooms with similar ids alone", async ({ store }) => {
    const owner = newMember();
    const ids = ["a", "A", "a.b", "a.b.c", "ab", "a/b", "a:b", "a=b", "a%2Eb", "a_b", "a-b"];
    for (const id of ids) await store.createRoom(newRoom(id, { owner }));
    await store.deleteRoom("a.b");
    await store.deleteRoom("a");
    const left = ids.filter((id) => id !== "a" && id !== "a.b");
    for (const id of left) {
      assert.equal((await store.getRoom(id)).id, id);
      assert.equal((await store.listMembers(id)).items.length, 1);
      assert.equal((await store.getSealedKey(id, owner.endpoint)).roomId, id);
    }
    assert.equal((await store.listRoomsForEndpoint(owner.endpoint)).items.length, left.length);
  });

  it("listRoomsForEndpoint() follows every change of membership", async ({ store }) => {
    const me = newMember();
    const mine = async () =>
      (await store.listRoomsForEndpoint(me.endpoint)).items.map((r) => `${r.id} ${r.epoch}`);
    assert.deepEqual(await mine(), []);
    const b = newRoom("b");
    await store.createRoom(b);
    await store.createRoom(newRoom("a", { owner: me }));
    await store.createRoom(newRoom("c", { members: [me] }));
    assert.deepEqual(await mine(), ["a 1", "c 1"]);
    await store.addMember("b", me);
    assert.deepEqual(await mine(), ["a 1", "b 1", "c 1"]);
    await store.rekeyRoom("b", { epoch: 2, sealedKeys: keysFor([me, b.owner]) });
    assert.deepEqual(await mine(), ["a 1", "b 2", "c 1"]);
    await store.removeMember("c", me.endpoint);
    await store.deleteRoom("a");
    assert.deepEqual(await mine(), ["b 2"]);
    assert.deepEqual((await store.listRoomsForEndpoint(hexKey())).items, []);
  });

  it("what a caller does to its objects later changes nothing stored", async ({ store }) => {
    const given = newRoom("r", { members: Array.from({ length: 20 }, () => newMember()) });
    const members = given.members!.map((it) => ({ ...it }));
    const input = { ...given, owner: { ...given.owner }, members };
    const bytes = input.sealedKeys![0]!.sealedKey;
    const original = hex(bytes);
    const lastKey = input.sealedKeys!.at(-1)!;
    const last = hex(lastKey.sealedKey);
    const pending = store.createRoom(input);
    for (const { sealedKey } of input.sealedKeys!) sealedKey.fill(0);
    for (const it of [input.owner, ...members]) it.kexPub = "";
    const returned = await pending;
    assert.equal(hex((await store.getSealedKey("r", lastKey.endpoint)).sealedKey), last);
    input.owner = given.owner;
    returned.epoch = 99;
    const room = await store.getRoom("r");
    assert.equal(room.epoch, 1);
    room.owner = "nobody";
    (await store.getMember("r", input.owner.endpoint)).role = "member";
    for (const member of (await store.listMembers("r")).items) member.kexPub = "";
    for (const mine of (await store.listRoomsForEndpoint(input.owner.endpoint)).items) mine.id = "";
    const key = await store.getSealedKey("r", input.owner.endpoint);
    assert.equal(hex(key.sealedKey), original);
    key.sealedKey.fill(1);
    assert.equal((await store.getRoom("r")).owner, input.owner.endpoint);
    assert.equal((await store.getMember("r", input.owner.endpoint)).role, "owner");
    const kexPubs = new Set((await store.listMembers("r")).items.map((it) => it.kexPub));
    assert.deepEqual(kexPubs, new Set([given.owner, ...given.members!].map((it) => it.kexPub)));
    assert.equal((await store.listRoomsForEndpoint(input.owner.endpoint)).items[0]!.id, "r");
    assert.equal(hex((await store.getSealedKey("r", input.owner.endpoint)).sealedKey), original);
  });
}
