/**
 * Rooms that their owner hands over to another member, by a signed statement.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Handover, NewMember } from "../../../src/core/model.ts";
import type { Store } from "../../../src/core/store.ts";
import { LIMITS } from "../../../src/core/validate.ts";
import { collect, fails, hexKey, keysFor, newMember, newRoom, newUser } from "../kit/kit.ts";
import { outcomes, plain, snapshot } from "../kit/kit.ts";
import { invariantProblems } from "../kit/invariants.ts";
import type { It } from "../suite.ts";

/** A statement; a store does not verify its signature. */
function statement(from: NewMember, to: NewMember, epoch = 1): Handover {
  const signature = `${hexKey()}${"A".repeat(86)}`.slice(0, 85) + "A";
  return { from: from.endpoint, to: to.endpoint, epoch, signature };
}

/** A room with two members who may own it, one who was only offered to, and one without a key. */
async function scene(store: Store) {
  const [owner, heir, other] = [newMember(), newMember(), newMember()];
  const [offered, keyless] = [newMember(), newMember()];
  await store.addUser(newUser({ signPub: owner.endpoint, kexPub: owner.kexPub }));
  const members = [heir, other, { ...offered, accepted: false }];
  await store.createRoom(newRoom("r", { owner, members }));
  await store.addMember("r", keyless);
  return { owner, heir, other, offered, keyless };
}

/** Registers the tests of hand-overs. */
export function handovers(it: It): void {
  it("handOverRoom() makes a member the owner, and the owner a member", async ({ store }) => {
    const { owner, heir, other, offered, keyless } = await scene(store);
    const before = await store.getRoom("r");
    const first = statement(owner, heir);
    const room = await store.handOverRoom("r", first);
    assert.deepEqual(room, { ...before, owner: heir.endpoint, handovers: [first] });
    assert.deepEqual(await store.getRoom("r"), room);
    assert.deepEqual((await store.listRooms()).items, [room]);
    const rolesOf = async () =>
      Object.fromEntries((await store.listMembers("r")).items.map((it) => [it.endpoint, it.role]));
    const roles = await rolesOf();
    assert.deepEqual([roles[heir.endpoint], roles[owner.endpoint]], ["owner", "member"]);
    assert.deepEqual(await invariantProblems(store), []);
    // Again changes nothing.
    const after = await snapshot(store);
    assert.deepEqual(await store.handOverRoom("r", first), room);
    assert.deepEqual(await snapshot(store), after);
    // The statements stay with the room, whatever else changes it.
    const sealedKeys = keysFor([owner, heir, other, offered, keyless]);
    const rekeyed = await store.rekeyRoom("r", { epoch: 2, sealedKeys });
    assert.deepEqual(rekeyed.handovers, [first]);
    const back = statement(heir, owner, 2);
    assert.deepEqual((await store.handOverRoom("r", back)).handovers, [first, back]);
    await store.revokeUser(owner.endpoint);
    const given = await store.changeRoomOwner("r", other.endpoint);
    assert.deepEqual([given.owner, given.handovers], [other.endpoint, [first, back]]);
    await fails("conflict", store.handOverRoom("r", statement(heir, keyless, 2)));
    await store.removeMember("r", heir.endpoint);
    assert.deepEqual((await store.getRoom("r")).handovers, [first, back]);
  });

  it("handOverRoom() refuses what is out of date, and members who cannot own it", async ({ store }) => {
    const { owner, heir, other, offered, keyless } = await scene(store);
    await store.createRoom(newRoom("clear", { owner, members: [heir], encrypted: false }));
    const before = await snapshot(store);
    await fails("not_found", store.handOverRoom("r", statement(owner, newMember())));
    await fails("not_found", store.handOverRoom("none", statement(owner, heir)));
    await fails("invalid", store.handOverRoom("clear", statement(owner, heir)), "roomId");
    for (const to of [offered, keyless]) {
      await fails("conflict", store.handOverRoom("r", statement(owner, to)));
    }
    await fails("conflict", store.handOverRoom("r", statement(other, heir)));
    await fails("conflict", store.handOverRoom("r", statement(owner, heir, 2)));
    await fails("invalid", store.handOverRoom("r", statement(owner, owner)), "handover.to");
    for (const signature of ["", "A".repeat(85), "A".repeat(87), "B".repeat(86), "+".repeat(86)]) {
      const bad = { ...statement(owner, heir), signature };
      await fails("invalid", store.handOverRoom("r", bad), "handover.signature");
    }
    assert.deepEqual(await snapshot(store), before);
    await store.handOverRoom("r", statement(owner, heir));
    const after = await snapshot(store);
    // At one epoch a room is handed over once, so that no statement can be used again.
    await fails("conflict", store.handOverRoom("r", statement(heir, owner)));
    assert.deepEqual(await snapshot(store), after);
  });

  it("a room keeps its last hand-overs only", async ({ store }) => {
    const [a, b] = [newMember(), newMember()];
    await store.createRoom(newRoom("r", { owner: a, members: [b] }));
    const all: Handover[] = [];
    for (let epoch = 1; epoch <= LIMITS.handovers + 2; epoch++) {
      if (epoch > 1) await store.rekeyRoom("r", { epoch, sealedKeys: keysFor([a, b]) });
      all.push(epoch % 2 === 1 ? statement(a, b, epoch) : statement(b, a, epoch));
      await store.handOverRoom("r", all.at(-1)!);
    }
    const room = await store.getRoom("r");
    assert.deepEqual(room.handovers, all.slice(-LIMITS.handovers));
    const records = await collect(store.records());
    await store.restore(records, { replace: true });
    assert.deepEqual(plain(await collect(store.records())), plain(records));
    assert.deepEqual(await store.getRoom("r"), room);
  });

  it("of two hand-overs at once one is done", async ({ store }) => {
    const { owner, heir, other } = await scene(store);
    const found = await outcomes(
      [heir, other].map((to) => store.handOverRoom("r", statement(owner, to))),
    );
    assert.deepEqual(found.sort(), ["conflict", "ok"]);
    assert.equal((await store.getRoom("r")).handovers!.length, 1);
    assert.deepEqual(await invariantProblems(store), []);
  });

  it("the history tells of a hand-over as of any change of owner", async ({ store }) => {
    const { owner, heir } = await scene(store);
    await store.handOverRoom("r", statement(owner, heir));
    const [entry] = (await store.history({ room: "r", newest: true, limit: 1 })).items;
    const { action, user, before, after } = entry!;
    assert.deepEqual([action, user, before, after], [
      "room.owner_changed",
      heir.endpoint,
      { owner: owner.endpoint },
      { owner: heir.endpoint },
    ]);
  }, "history");
}
