/**
 * Everything out: the canonical order, one point in time, an end on request.
 *
 * @module
 */

import assert from "node:assert/strict";
import { KINDS } from "../../../src/core/model.ts";
import { AWKWARD_IDS, byBytes } from "../kit/ids.ts";
import { recordProblems } from "../kit/invariants.ts";
import {
  collect,
  fails,
  keysFor,
  newMember,
  newMembers,
  newRoom,
  newUser,
  plain,
} from "../kit/kit.ts";
import { meanwhile, snapshot } from "../kit/kit.ts";
import { seedStore } from "../kit/methods.ts";
import { handles, type It } from "../suite.ts";

/** Registers the tests of records(). */
export function records(it: It): void {
  it("records() of an empty store is empty", async ({ store }) => {
    assert.deepEqual(await collect(store.records()), []);
  });

  it("records() gives every record whole, equal to what the reads give", async ({ store }) => {
    const seed = await seedStore(store);
    const all = await collect(store.records());
    assert.deepEqual(recordProblems(all, { everyMemberHasKey: true }), []);
    const of = (kind: string) => plain(all.filter((r) => r.kind === kind));
    const rooms = (await store.listRooms()).items;
    assert.deepEqual(of("rooms"), rooms.map((r) => ({ kind: "rooms", ...r })));
    assert.deepEqual(
      of("users"),
      (await store.listUsers()).items.map((u) => ({
        kind: "users",
        ...u,
      })),
    );
    assert.deepEqual(
      of("invites"),
      (await store.listInvites()).items.map((i) => ({
        kind: "invites",
        ...i,
      })),
    );
    const members = [];
    const keys = [];
    for (const { id } of rooms) {
      members.push(...(await store.listMembers(id)).items);
      keys.push(...(await store.listSealedKeys(id)).items);
    }
    assert.deepEqual(of("members"), members.map((m) => ({ kind: "members", ...m })));
    assert.deepEqual(
      of("room_keys"),
      plain(keys.map((record) => ({ kind: "room_keys" as const, record }))),
    );
    assert.deepEqual([members.length, keys.length], [4, 6]);
    assert.equal(seed.open.invite.usedAt, null);
  });

  it("records() comes by kind, then by key as UTF-8 bytes and numbers", async ({ store }) => {
    const owner = newMember();
    const ids = AWKWARD_IDS.filter((_, i) => i % 3 === 0).concat("\uffff", "\u{10000}", "\ue000");
    for (const id of new Set(ids)) await store.createRoom(newRoom(id, { owner }));
    for (let epoch = 2; epoch <= 11; epoch++) {
      await store.rekeyRoom("\uffff", { epoch, sealedKeys: keysFor([owner]) });
    }
    await store.addUser(newUser());
    await store.createInvite({ createdBy: "cli" });
    const all = await collect(store.records());
    const kinds = all.map((r) => KINDS.indexOf(r.kind));
    assert.deepEqual(kinds, [...kinds].sort((a, b) => a - b));
    const sorted = [...new Set(ids)].sort(byBytes);
    assert.deepEqual(all.flatMap((r) => r.kind === "rooms" ? [r.record.id] : []), sorted);
    assert.deepEqual(all.flatMap((r) => r.kind === "members" ? [r.record.roomId] : []), sorted);
    const keys = all.flatMap((r) => r.kind === "room_keys" ? [r.record] : []);
    assert.deepEqual([...new Set(keys.map((k) => k.roomId))], sorted);
    const epochs = keys.filter((k) => k.roomId === "\uffff").map((k) => k.epoch);
    assert.deepEqual(epochs, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it("equal states give equal records, whatever way they came about", async ({ store, clock }) => {
    const room = newRoom("r", { members: newMembers(3) });
    const user = newUser();
    await store.createRoom(room);
    await store.addUser(user);
    const first = await snapshot(store);
    await store.deleteUser(user.signPub);
    clock.now += 1000;
    await store.createRoom(newRoom("other"));
    await store.deleteRoom("r");
    await store.deleteRoom("other");
    clock.now -= 1000;
    await store.addUser(user);
    await store.createRoom({ ...room, members: [...room.members!].reverse() });
    assert.deepEqual(await snapshot(store), first);
  });

  it("records() goes on from where it began while the same handle writes", async ({ store }) => {
    await store.createRoom(newRoom("a", { members: newMembers(200) }));
    const seen = [];
    for await (const record of store.records()) {
      if (seen.length % 50 === 0) {
        await store.createRoom(newRoom(`b.${seen.length}`, { members: newMembers(2) }));
        await store.addUser(newUser());
      }
      seen.push(record);
    }
    assert.deepEqual(recordProblems(seen, { everyMemberHasKey: true }), []);
    assert.ok(seen.length >= 403);
  });

  it("two readers of records() do not disturb each other", async ({ store }) => {
    await seedStore(store);
    const expected = await snapshot(store);
    const one = store.records()[Symbol.asyncIterator]();
    await one.next();
    const [two, three] = await Promise.all([snapshot(store), snapshot(store)]);
    let rest = 0;
    while (!(await one.next()).done) rest++;
    assert.deepEqual([two, three], [expected, expected]);
    assert.equal(rest, expected.length - 1);
  });

  it("records() can be left in the middle, and the store goes on", async ({ store, reopen }) => {
    await seedStore(store);
    for (let i = 0; i < 20; i++) {
      for await (const _ of store.records()) break;
    }
    await store.addUser(newUser());
    await store.deleteRoom("seed.room");
    const before = await snapshot(store);
    assert.deepEqual(await snapshot(await reopen()), before);
  }, "reopen");

  it("records() ends with aborted when its signal says so", async ({ store }) => {
    await store.createRoom(newRoom("r", { members: newMembers(100) }));
    const early = AbortSignal.abort();
    await fails("aborted", () => collect(store.records({ signal: early })));
    const controller = new AbortController();
    let seen = 0;
    await fails("aborted", async () => {
      for await (const _ of store.records({ signal: controller.signal })) {
        if (++seen === 10) controller.abort();
      }
    });
    assert.ok(seen < 201, `${seen} records after the abort`);
    assert.equal((await collect(store.records())).length, 203);
  });

  it("records() is one point in time while others write", async (scene) => {
    const stores = await handles(scene, 3);
    const writer = stores.at(-1)!;
    const pad = newMembers(300);
    await scene.store.createRoom(newRoom("pad", { members: pad }));
    let rounds = 0;
    const pairs: string[][] = [];
    const write = async () => {
      const room = newRoom(`room.${rounds}`, { members: newMembers(2) });
      await writer.createRoom(room);
      const who = [room.owner, ...room.members!];
      await writer.rekeyRoom(room.id, { epoch: 2, sealedKeys: keysFor(who) });
      const first = (await writer.addUser(newUser())).signPub;
      const second = (await writer.addUser(newUser())).signPub;
      pairs.push([first, second]);
      if (rounds % 3 === 0) await writer.deleteRoom(room.id);
      rounds++;
    };
    const snapshots: Set<string>[] = [];
    const read = async () => {
      for (let i = 0; i < 12; i++) {
        const told = await writer.addUser(newUser());
        const records = await collect(scene.store.records());
        assert.deepEqual(recordProblems(records, { everyMemberHasKey: true }), []);
        const users = new Set(records.map((r) => r.kind === "users" ? r.record.signPub : ""));
        assert.ok(users.has(told.signPub), "holds what was answered before it began");
        snapshots.push(users);
      }
    };
    await meanwhile(write, read());
    for (const [first, second] of pairs) {
      for (const users of snapshots) {
        if (users.has(second!)) assert.ok(users.has(first!), "what came first is there");
      }
    }
  });
}
