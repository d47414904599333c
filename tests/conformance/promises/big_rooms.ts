/**
 * Rooms beyond one batch of a server: still one transaction each.
 *
 * @module
 */

import assert from "node:assert/strict";
import { invariantProblems } from "../kit/invariants.ts";
import {
  collect,
  everyPage,
  fails,
  hex,
  keysFor,
  newMembers,
  newRoom,
  outcomes,
} from "../kit/kit.ts";
import { meanwhile, sealed } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Registers the tests of big rooms. */
export function bigRooms(it: It): void {
  it("createRoom() with 1,200 members is one transaction, and so is deleteRoom()", async (scene) => {
    const { store } = scene;
    const room = newRoom("big", { members: newMembers(1199) });
    await store.createRoom(newRoom("big.other"));
    await store.createRoom(room);
    assert.equal((await store.listMembers("big", { limit: 10_000 })).items.length, 1200);
    assert.equal((await store.listSealedKeys("big", { limit: 10_000 })).items.length, 1200);
    for (const { endpoint, kexPub } of [room.members![0]!, room.members!.at(-1)!]) {
      assert.equal((await store.getMember("big", endpoint)).kexPub, kexPub);
      assert.equal((await store.listRoomsForEndpoint(endpoint)).items.length, 1);
    }
    await fails("room_exists", store.createRoom(newRoom("big", { members: newMembers(1199) })));
    assert.deepEqual(await invariantProblems(store, { everyMemberHasKey: true }), []);
    await store.deleteRoom("big");
    assert.equal((await collect(store.records())).length, 3);
    for (const { endpoint } of [room.owner, ...room.members!.slice(0, 20)]) {
      assert.deepEqual((await store.listRoomsForEndpoint(endpoint)).items, []);
    }
    await fails("not_found", store.listMembers("big"));
  });

  it("rekeyRoom() with 1,500 members shows all new keys or none", async ({ store, reopen }) => {
    const room = newRoom("big", { members: newMembers(1499) });
    await store.createRoom(room);
    const sealedKeys = keysFor([room.owner, ...room.members!]);
    const seen = new Set<number>();
    const rekeyed = await meanwhile(async () => {
      const { items } = await store.listSealedKeys("big", { epoch: 2, limit: 10_000 });
      seen.add(items.length);
    }, store.rekeyRoom("big", { epoch: 2, sealedKeys }));
    assert.equal(rekeyed.epoch, 2);
    for (const count of seen) assert.ok(count === 0 || count === 1500, `${count} keys`);
    const check = async (it: typeof store) => {
      assert.equal((await it.getRoom("big")).epoch, 2);
      const keys = await everyPage((p) => it.listSealedKeys("big", { ...p, epoch: 2 }), 700);
      const stored = new Map(keys.map((k) => [k.endpoint, hex(k.sealedKey)]));
      assert.equal(stored.size, 1500);
      for (const key of sealedKeys) assert.equal(stored.get(key.endpoint), hex(key.sealedKey));
    };
    await check(store);
    await check(await reopen());
  }, "reopen");

  it("a rekey of 1,200 members lost to another leaves none of its keys", async (scene) => {
    const { store } = scene;
    const room = newRoom("big", { members: newMembers(1199) });
    await store.createRoom(room);
    const who = [room.owner, ...room.members!];
    const rekeys = [1, 2, 3].map(() => ({ epoch: 2, sealedKeys: keysFor(who) }));
    const ended = await outcomes(rekeys.map((rekey) => store.rekeyRoom("big", rekey)));
    assert.deepEqual([...ended].sort(), ["conflict", "conflict", "ok"]);
    const winner = rekeys[ended.indexOf("ok")]!;
    const keys = await everyPage((p) => store.listSealedKeys("big", { ...p, epoch: 2 }));
    const stored = new Map(keys.map((k) => [k.endpoint, hex(k.sealedKey)]));
    for (const key of winner.sealedKeys) {
      assert.equal(stored.get(key.endpoint), hex(key.sealedKey));
    }
    assert.deepEqual(await invariantProblems(store, { everyMemberHasKey: true }), []);
  });

  it("changes of a big room while it is rekeyed or deleted keep it whole", async ({ store }) => {
    const room = newRoom("big", { members: newMembers(1199) });
    await store.createRoom(room);
    const who = [room.owner, ...room.members!];
    const [added, gone] = [newMembers(1)[0]!, room.members![7]!];
    const [rekeyed, put, add, removed] = await outcomes([
      store.rekeyRoom("big", { epoch: 2, sealedKeys: keysFor(who) }),
      store.putSealedKey({
        roomId: "big",
        epoch: 1,
        endpoint: gone.endpoint,
        sealedKey: sealed(),
      }),
      store.addMember("big", added, { epoch: 1, sealedKey: sealed() }),
      store.removeMember("big", gone.endpoint),
    ]);
    for (const word of [add, removed]) assert.ok(word === "ok" || word === "conflict");
    assert.ok(["ok", "conflict", "missing_key"].includes(rekeyed!), `${rekeyed}`);
    assert.ok(["ok", "conflict", "not_found"].includes(put!), `${put}`);
    assert.ok(rekeyed !== "ok" || add === "conflict", "the two cannot both be");
    assert.equal((await store.getRoom("big")).epoch, rekeyed === "ok" ? 2 : 1);
    assert.deepEqual(await invariantProblems(store, { everyMemberHasKey: true }), []);
    const ended = await outcomes([
      store.deleteRoom("big"),
      store.addMember("big", newMembers(1)[0]!),
      store.removeMember("big", room.members![9]!.endpoint),
    ]);
    for (const word of ended) assert.ok(["ok", "conflict", "not_found"].includes(word), word);
    if (ended[0] === "ok") assert.deepEqual(await collect(store.records()), []);
    assert.deepEqual(await invariantProblems(store), []);
  });

  it("pruneSealedKeys() removes epochs of 1,200 keys", async ({ store }) => {
    const room = newRoom("big", { members: newMembers(1199) });
    await store.createRoom(room);
    assert.equal(await store.countMembers("big"), 1200);
    for (let epoch = 2; epoch <= 4; epoch++) {
      await store.rekeyRoom("big", {
        epoch,
        sealedKeys: keysFor([room.owner, ...room.members!]),
      });
    }
    assert.equal(await store.pruneSealedKeys("big", 2), 2400);
    const keys = await everyPage((page) => store.listSealedKeys("big", page));
    assert.deepEqual([...new Set(keys.map((it) => it.epoch))], [3, 4]);
    assert.equal(keys.length, 2400);
    assert.deepEqual(await invariantProblems(store, { everyMemberHasKey: true }), []);
  });
}
