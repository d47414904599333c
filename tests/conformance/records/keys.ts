/**
 * Sealed keys: moved to the next epoch together, replaced one by one, read by epoch.
 *
 * @module
 */

import assert from "node:assert/strict";
import { collect, fails, hex, hexKey, keysFor, newMember, newRoom, sealed } from "../kit/kit.ts";
import { snapshot } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Registers the tests of sealed keys. */
export function keys(it: It): void {
  it("rekeyRoom() moves the room one epoch on and keeps older keys", async ({ store, clock }) => {
    const input = newRoom("r", { members: [newMember()] });
    const created = await store.createRoom(input);
    const all = [input.owner, ...input.members!];
    clock.now += 10;
    const second = keysFor(all);
    const expected = { ...created, epoch: 2 };
    assert.deepEqual(await store.rekeyRoom("r", { epoch: 2, sealedKeys: second }), expected);
    assert.deepEqual(await store.getRoom("r"), expected);
    for (const [i, key] of second.entries()) {
      const latest = await store.getSealedKey("r", key.endpoint);
      assert.deepEqual([latest.epoch, latest.createdAt], [2, clock.iso()]);
      assert.equal(hex(latest.sealedKey), hex(key.sealedKey));
      const first = await store.getSealedKey("r", key.endpoint, 1);
      assert.equal(hex(first.sealedKey), hex(input.sealedKeys![i]!.sealedKey));
    }
    await fails("not_found", store.getSealedKey("r", input.owner.endpoint, 3));
  });

  it("rekeyRoom() to another epoch than the next is conflict", async ({ store }) => {
    const input = newRoom("r");
    await store.createRoom(input);
    await store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor([input.owner]) });
    const before = await snapshot(store);
    for (const epoch of [1, 2, 4, 2 ** 31 - 1]) {
      await fails("conflict", store.rekeyRoom("r", { epoch, sealedKeys: keysFor([input.owner]) }));
    }
    assert.deepEqual(await snapshot(store), before);
  });

  it("rekeyRoom() says which member has no key, and a key for a stranger is conflict", async ({ store }) => {
    const gone = newMember();
    const input = newRoom("r", { members: [newMember(), gone] });
    await store.createRoom(input);
    await store.removeMember("r", gone.endpoint);
    const before = await snapshot(store);
    const now = [input.owner, input.members![0]!];
    for (const wrong of [[...now, gone], [now[0]!, gone]]) {
      const rekey = { epoch: 2, sealedKeys: keysFor(wrong) };
      await fails("conflict", store.rekeyRoom("r", rekey));
    }
    for (const given of [[], [now[0]!], [now[1]!]]) {
      const rekey = { epoch: 2, sealedKeys: keysFor(given) };
      const { missing } = await fails("missing_key", store.rekeyRoom("r", rekey));
      const without = now.filter((member) => !given.includes(member));
      assert.deepEqual(missing, without.map(({ endpoint }) => endpoint).sort());
    }
    assert.deepEqual(await snapshot(store), before);
    await store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor(now) });
  });

  it("rekeyRoom() of no room is not_found, of a cleartext room invalid", async ({ store }) => {
    const clear = newRoom("clear", { encrypted: false });
    await store.createRoom(clear);
    const sealedKeys = keysFor([clear.owner]);
    await fails("not_found", store.rekeyRoom("none", { epoch: 2, sealedKeys }));
    await fails("invalid", store.rekeyRoom("clear", { epoch: 2, sealedKeys }), "roomId");
    assert.equal((await store.getRoom("clear")).epoch, 1);
  });

  it("rekeyRoom() refuses somebody named twice", async ({ store }) => {
    const input = newRoom("r");
    await store.createRoom(input);
    const sealedKeys = keysFor([input.owner.endpoint, input.owner.endpoint.toUpperCase()]);
    const rekey = store.rekeyRoom("r", { epoch: 2, sealedKeys });
    await fails("invalid", rekey, "sealedKeys[1].endpoint");
  });

  it("putSealedKey() stores, and replaces", async ({ store, clock }) => {
    const who = newMember();
    await store.createRoom(newRoom("r"));
    await store.addMember("r", who);
    const put = { roomId: "r", epoch: 1, endpoint: who.endpoint, sealedKey: sealed() };
    const stored = await store.putSealedKey(put);
    assert.deepEqual({ ...stored, sealedKey: hex(stored.sealedKey) }, {
      ...put,
      sealedKey: hex(put.sealedKey),
      createdAt: clock.iso(),
    });
    clock.now += 1;
    const other = { ...put, endpoint: who.endpoint.toUpperCase(), sealedKey: sealed(7) };
    await store.putSealedKey(other);
    const found = await store.getSealedKey("r", who.endpoint);
    assert.deepEqual([hex(found.sealedKey), found.createdAt], [hex(other.sealedKey), clock.iso()]);
    assert.equal((await store.listSealedKeys("r")).items.length, 2);
  });

  it("putSealedKey() takes an older epoch, and calls one ahead conflict", async ({ store }) => {
    const input = newRoom("r");
    await store.createRoom(input);
    const who = newMember();
    await store.addMember("r", who);
    const sealedKeys = keysFor([input.owner, who]);
    await store.rekeyRoom("r", { epoch: 2, sealedKeys });
    const put = { roomId: "r", endpoint: who.endpoint, sealedKey: sealed() };
    await store.putSealedKey({ ...put, epoch: 1 });
    assert.equal((await store.getSealedKey("r", who.endpoint)).epoch, 2);
    assert.equal((await store.getSealedKey("r", who.endpoint, 1)).epoch, 1);
    const before = await snapshot(store);
    await fails("conflict", store.putSealedKey({ ...put, epoch: 3 }));
    assert.deepEqual(await snapshot(store), before);
  });

  it("putSealedKey() knows rooms, members and cleartext rooms", async ({ store }) => {
    const gone = newMember();
    const input = newRoom("r", { members: [gone] });
    const clear = newRoom("clear", { encrypted: false });
    await store.createRoom(input);
    await store.createRoom(clear);
    await store.removeMember("r", gone.endpoint);
    const before = await snapshot(store);
    const put = (roomId: string, endpoint: string, epoch = 1) =>
      store.putSealedKey({ roomId, endpoint, epoch, sealedKey: sealed() });
    await fails("not_found", put("none", input.owner.endpoint));
    await fails("not_found", put("r", hexKey()));
    await fails("not_found", put("r", gone.endpoint));
    await fails("invalid", put("clear", clear.owner.endpoint), "roomId");
    // Who is no member hears that first, whatever else is wrong.
    await fails("not_found", put("clear", hexKey()));
    await fails("not_found", put("r", gone.endpoint, 2));
    assert.deepEqual(await snapshot(store), before);
  });

  it("getSealedKey() without an epoch gives the latest there is", async ({ store }) => {
    const input = newRoom("r", { members: [newMember()] });
    const other = input.members![0]!.endpoint;
    await store.createRoom(input);
    for (let epoch = 2; epoch <= 11; epoch++) {
      if (epoch === 4) await store.removeMember("r", other);
      const who = epoch < 4 ? [input.owner.endpoint, other] : [input.owner.endpoint];
      await store.rekeyRoom("r", { epoch, sealedKeys: keysFor(who) });
    }
    assert.equal((await store.getSealedKey("r", input.owner.endpoint)).epoch, 11);
    assert.equal((await store.getSealedKey("r", input.owner.endpoint, 9)).epoch, 9);
    assert.equal((await store.getSealedKey("r", other)).epoch, 3);
    await fails("not_found", store.getSealedKey("r", other, 4));
    await fails("not_found", store.getSealedKey("r", hexKey()));
    await fails("not_found", store.getSealedKey("none", other));
    await fails("not_found", store.listSealedKeys("none"));
    await fails("not_found", store.listSealedKeys("none", { epoch: 1 }));
  });

  it("sealed keys of any bytes from 1 to 4,096 come back as they went in", async ({ store }) => {
    const input = newRoom("r");
    await store.createRoom(input);
    const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
    const window = new Uint8Array(600).fill(7).subarray(100, 133);
    const zero = new Uint8Array(1);
    for (const bytes of [zero, everyByte, window, sealed(4096), Buffer.from("not utf-8 \xff")]) {
      const put = { roomId: "r", epoch: 1, endpoint: input.owner.endpoint, sealedKey: bytes };
      await store.putSealedKey(put);
      const found = (await store.getSealedKey("r", input.owner.endpoint)).sealedKey;
      assert.ok(found instanceof Uint8Array);
      assert.equal(hex(found), hex(bytes));
      const [listed] = (await store.listSealedKeys("r")).items;
      assert.equal(hex(listed!.sealedKey), hex(bytes));
      const record = (await collect(store.records())).find((r) => r.kind === "room_keys");
      assert.ok(record?.kind === "room_keys" && hex(record.record.sealedKey) === hex(bytes));
    }
  });

  it("pruneSealedKeys() removes the oldest epochs, and keeps as many as it is told", async (scene) => {
    const { store } = scene;
    const input = newRoom("r", { members: [newMember()] });
    const all = [input.owner, ...input.members!];
    await store.createRoom(input);
    await store.createRoom(newRoom("r.other"));
    assert.equal(await store.pruneSealedKeys("r", 2), 0);
    for (let epoch = 2; epoch <= 12; epoch++) {
      await store.rekeyRoom("r", { epoch, sealedKeys: keysFor(all) });
    }
    // One of an old epoch that was stored again is as old as before.
    await store.putSealedKey({
      roomId: "r",
      epoch: 1,
      endpoint: input.owner.endpoint,
      sealedKey: sealed(),
    });
    assert.equal(await store.pruneSealedKeys("r", 12), 0);
    const before = await snapshot(store);
    assert.equal(await store.pruneSealedKeys("r", 9), 6);
    const left = (await store.listSealedKeys("r")).items.map((it) => it.epoch);
    assert.deepEqual(left, [4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap((it) => [it, it]));
    assert.equal(await store.pruneSealedKeys("r", 9), 0);
    const gone = (it: unknown) => {
      const { kind, roomId, epoch } = it as Record<string, unknown>;
      return kind === "room_keys" && roomId === "r" && Number(epoch) < 4;
    };
    assert.deepEqual(await snapshot(store), before.filter((it) => !gone(it)));
    await fails("not_found", store.getSealedKey("r", input.owner.endpoint, 3));
    assert.equal((await store.getSealedKey("r", input.owner.endpoint)).epoch, 12);
    assert.equal(await store.pruneSealedKeys("r", 2), 14);
    assert.equal((await store.listSealedKeys("r")).items.length, 4);
    await store.rekeyRoom("r", { epoch: 13, sealedKeys: keysFor(all) });
    assert.equal((await store.getRoom("r")).epoch, 13);
    await fails("not_found", store.pruneSealedKeys("none", 2));
  });

  it("pruneSealedKeys() of a room that is made again leaves the new room's keys", async ({ store }) => {
    const old = newRoom("r");
    await store.createRoom(old);
    for (let epoch = 2; epoch <= 4; epoch++) {
      await store.rekeyRoom("r", { epoch, sealedKeys: keysFor([old.owner]) });
    }
    assert.equal(await store.pruneSealedKeys("r", 2), 2);
    await store.deleteRoom("r");
    const next = newRoom("r", { members: [newMember()] });
    await store.createRoom(next);
    assert.equal(await store.pruneSealedKeys("r", 2), 0);
    assert.equal((await store.listSealedKeys("r")).items.length, 2);
    for (let epoch = 2; epoch <= 3; epoch++) {
      await store.rekeyRoom("r", {
        epoch,
        sealedKeys: keysFor([next.owner, ...next.members!]),
      });
    }
    assert.equal(await store.pruneSealedKeys("r", 2), 2);
    assert.equal((await store.listSealedKeys("r")).items.length, 4);
  });
}
