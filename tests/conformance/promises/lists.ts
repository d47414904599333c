/**
 * Lists: their order, their pages, and awkward ids in them.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Page, PageRequest } from "../../../src/core/model.ts";
import { AWKWARD_IDS, byBytes } from "../kit/ids.ts";
import { everyPage, fails, hexKey, invite, keysFor, newMember, newMembers } from "../kit/kit.ts";
import { newRoom, newUser } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Registers the tests of lists. */
export function lists(it: It): void {
  it("awkward ids are kept apart and come back as they went in", async ({ store }) => {
    const owner = newMember();
    await inBatches(
      AWKWARD_IDS,
      (id) => store.createRoom(newRoom(id, { owner, subject: "unibus.same" })),
    );
    const sorted = [...AWKWARD_IDS].sort(byBytes);
    assert.deepEqual((await store.listRooms()).items.map((r) => r.id), sorted);
    const mine = await store.listRoomsForEndpoint(owner.endpoint);
    assert.deepEqual(mine.items.map((r) => r.id), sorted);
    await inBatches(AWKWARD_IDS, async (id) => {
      assert.equal((await store.getRoom(id)).id, id);
      assert.equal((await store.getMember(id, owner.endpoint)).roomId, id);
      assert.equal((await store.getSealedKey(id, owner.endpoint)).roomId, id);
      assert.equal((await store.listMembers(id)).items.length, 1);
      assert.equal((await store.listSealedKeys(id)).items.length, 1);
      await fails("room_exists", store.createRoom(newRoom(id)));
    });
    const gone = AWKWARD_IDS.filter((_, i) => i % 2 === 0);
    await inBatches(gone, (id) => store.deleteRoom(id));
    const left = (await store.listRooms()).items.map((r) => r.id);
    assert.deepEqual(left, sorted.filter((id) => !gone.includes(id)));
  });

  it("rooms come in the order of their ids' UTF-8 bytes", async ({ store }) => {
    const ids = ["\u{10000}", "\uffff", "\ue000", "\u{1f680}", "z", "Z", "é", "e", "a.b", "a-b"];
    ids.push("a/b", "a", "ab", "a0", "a\u{10000}", "a\uffff", "a\u{1f680}b", "a\ue000c");
    const owner = newMember();
    await inBatches(ids, (id) => store.createRoom(newRoom(id, { owner })));
    ids.sort(byBytes);
    for (const limit of [1, 2, 3, 5, ids.length, 10_000]) {
      assert.deepEqual((await everyPage((p) => store.listRooms(p), limit)).map((r) => r.id), ids);
      const mine = await everyPage((p) => store.listRoomsForEndpoint(owner.endpoint, p), limit);
      assert.deepEqual(mine.map((r) => r.id), ids);
    }
  });

  it("every list pages by limit and after, and ends with next null", async ({ store }) => {
    const owner = newMember();
    const room = newRoom("room", { owner, members: newMembers(6) });
    await store.createRoom(room);
    for (let i = 0; i < 6; i++) {
      await store.createRoom(newRoom(`room.${i}`, { owner }));
      await store.addUser(newUser());
      await invite(store);
    }
    await store.addUser(newUser());
    await invite(store);
    const lists: Record<string, (page?: PageRequest) => Promise<Page<unknown>>> = {
      listRooms: (p) => store.listRooms(p),
      listRoomsForEndpoint: (p) => store.listRoomsForEndpoint(owner.endpoint, p),
      listMembers: (p) => store.listMembers("room", p),
      listSealedKeys: (p) => store.listSealedKeys("room", p),
      listUsers: (p) => store.listUsers(p),
      listInvites: (p) => store.listInvites(p),
    };
    for (const [name, list] of Object.entries(lists)) {
      const all = await list();
      assert.deepEqual([all.items.length, all.next], [7, null], name);
      for (const limit of [1, 2, 6, 7, 8, 10_000]) {
        assert.deepEqual(await everyPage(list, limit), all.items, `${name} by ${limit}`);
      }
      assert.equal((await list({ limit: 7 })).next, null, name);
      const first = await list({ limit: 6 });
      assert.deepEqual([first.items.length, typeof first.next], [6, "string"], name);
      assert.deepEqual((await list({ after: first.next })).items, all.items.slice(6), name);
      assert.deepEqual((await list({ after: null })).items, all.items, name);
      for (const limit of [0, -1, 1.5, 10_001, NaN, Infinity]) {
        await fails("invalid", list({ limit }), "limit");
      }
      await fails("invalid", list({ after: "no such cursor *" }), "after");
    }
    assert.deepEqual(await store.listRooms({ after: "zzz" }), { items: [], next: null });
    const end = "f".repeat(64);
    for (const name of ["listMembers", "listUsers", "listInvites"]) {
      assert.deepEqual(await lists[name]!({ after: end.toUpperCase() }), { items: [], next: null });
    }
  });

  it("a page request of a wrong type is invalid", async ({ store }) => {
    for (const list of [store.listRooms, store.listUsers, store.listInvites]) {
      await fails("invalid", list([] as PageRequest), "page");
      await fails("invalid", list({ limit: "5" as unknown as number }), "limit");
    }
  }, "anyValue");

  it("members, users and invites come by their hex", async ({ store }) => {
    await store.createRoom(newRoom("r", { members: newMembers(20) }));
    for (let i = 0; i < 12; i++) {
      await store.addUser(newUser());
      await invite(store);
    }
    const orders = [
      (await store.listMembers("r")).items.map((m) => m.endpoint),
      (await store.listUsers()).items.map((u) => u.signPub),
      (await store.listInvites()).items.map((i) => i.id),
    ];
    for (const keys of orders) assert.deepEqual(keys, [...keys].sort());
    const second = (await store.listMembers("r", { after: orders[0]![0]!.toUpperCase() })).items;
    assert.equal(second[0]!.endpoint, orders[0]![1]);
  });

  it("sealed keys come by epoch as a number, then endpoint", async ({ store }) => {
    const room = newRoom("r", { members: newMembers(2) });
    const who = [room.owner, ...room.members!];
    await store.createRoom(room);
    for (let epoch = 2; epoch <= 11; epoch++) {
      await store.rekeyRoom("r", { epoch, sealedKeys: keysFor(who) });
    }
    const endpoints = who.map((m) => m.endpoint).sort();
    const expected = Array.from({ length: 11 }, (_, i) => endpoints.map((e) => `${i + 1}/${e}`));
    for (const limit of [1, 2, 3, 4, 33]) {
      const all = await everyPage((p) => store.listSealedKeys("r", p), limit);
      assert.deepEqual(all.map((k) => `${k.epoch}/${k.endpoint}`), expected.flat());
      const tenth = await everyPage((p) => store.listSealedKeys("r", { ...p, epoch: 10 }), limit);
      assert.deepEqual(tenth.map((k) => `${k.epoch}/${k.endpoint}`), expected[9]);
    }
    assert.deepEqual((await store.listSealedKeys("r", { epoch: 12 })).items, []);
    for (const after of ["x", "1", "1/", `-1/${hexKey()}`, `1/${hexKey()}/`, `1.5/${hexKey()}`]) {
      await fails("invalid", store.listSealedKeys("r", { after }), "after");
    }
  });

  it("the default page is 1,000, and one page may hold 10,000", async ({ store }) => {
    await store.createRoom(newRoom("r", { members: newMembers(1199) }));
    const first = await store.listMembers("r");
    assert.equal(first.items.length, 1000);
    assert.equal((await store.listMembers("r", { after: first.next })).items.length, 200);
    const all = await store.listMembers("r", { limit: 10_000 });
    assert.deepEqual([all.items.length, all.next], [1200, null]);
    assert.equal((await store.listSealedKeys("r", { limit: 1024 })).items.length, 1024);
    assert.equal((await everyPage((p) => store.listSealedKeys("r", p), 500)).length, 1200);
  });

  it("a page goes on behind a cursor whose record is gone", async ({ store }) => {
    for (const id of ["a", "b", "c", "d", "e"]) await store.createRoom(newRoom(id));
    const first = await store.listRooms({ limit: 2 });
    await store.deleteRoom("b");
    const rest = await store.listRooms({ after: first.next });
    assert.deepEqual(rest.items.map((r) => r.id), ["c", "d", "e"]);
  });

  it("paging meets what stays once, whatever changes between pages", async ({ store }) => {
    const stays = ["b", "d", "f", "h", "j", "l"];
    for (const id of [...stays, "a", "c", "k"]) await store.createRoom(newRoom(id));
    const seen: string[] = [];
    let after: string | null = null;
    let round = 0;
    do {
      const page: Page<{ id: string }> = await store.listRooms({ limit: 2, after });
      seen.push(...page.items.map((r) => r.id));
      after = page.next;
      if (round === 0) await store.createRoom(newRoom("aa"));
      if (round === 1) await store.deleteRoom("k");
      if (round === 2) await store.createRoom(newRoom("m"));
      round++;
    } while (after !== null);
    assert.deepEqual(seen.filter((id) => stays.includes(id)), stays);
    assert.deepEqual(seen, [...new Set(seen)].sort());
    assert.ok(seen.includes("m") && !seen.includes("aa") && !seen.includes("k"));
  });
}

/** Sixteen at a time: quick where each call waits for a server, gentle where it does not. */
async function inBatches<T>(items: readonly T[], call: (it: T) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < items.length; i += 16) {
    await Promise.all(items.slice(i, i + 16).map(call));
  }
}
