/**
 * Rooms whose owner is gone: given to another member.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Store } from "../../../src/core/store.ts";
import { fails, hex, hexKey, keysFor, newMember, newRoom, newUser } from "../kit/kit.ts";
import { outcomes, snapshot } from "../kit/kit.ts";
import { invariantProblems } from "../kit/invariants.ts";
import type { It } from "../suite.ts";

/** A room of an active user, with a member, one who was only offered to, and one without a key. */
async function scene(store: Store, encrypted = true) {
  const [owner, heir, offered, keyless] = [newMember(), newMember(), newMember(), newMember()];
  await store.addUser(newUser({ signPub: owner.endpoint, kexPub: owner.kexPub }));
  const members = [heir, { ...offered, accepted: false }];
  await store.createRoom(newRoom("r", { owner, members, encrypted }));
  await store.addMember("r", keyless);
  return { owner, heir, offered, keyless };
}

/** Registers the tests of owners. */
export function owners(it: It): void {
  for (
    const [how, leave] of [
      ["revoked", (s: Store, key: string) => s.revokeUser(key)],
      ["deleted", (s: Store, key: string) => s.deleteUser(key)],
    ] as const
  ) {
    it(`changeRoomOwner() gives the room of a ${how} owner to a member`, async ({ store }) => {
      const { owner, heir, offered, keyless } = await scene(store);
      const key = await store.getSealedKey("r", heir.endpoint);
      const before = await store.getRoom("r");
      await leave(store, owner.endpoint);
      const room = await store.changeRoomOwner("r", heir.endpoint.toUpperCase());
      assert.deepEqual(room, { ...before, owner: heir.endpoint });
      assert.deepEqual(await store.getRoom("r"), room);
      const member = await store.getMember("r", heir.endpoint);
      assert.deepEqual([member.role, member.accepted, member.kexPub], [
        "owner",
        true,
        heir.kexPub,
      ]);
      // The former owner is out; its sealed key and everybody else's stay.
      await fails("not_found", store.getMember("r", owner.endpoint));
      assert.deepEqual((await store.listRoomsForEndpoint(owner.endpoint)).items, []);
      assert.equal((await store.listSealedKeys("r")).items.length, 3);
      assert.equal(
        hex((await store.getSealedKey("r", heir.endpoint)).sealedKey),
        hex(key.sealedKey),
      );
      assert.deepEqual(await invariantProblems(store), []);
      // Again changes nothing; the new owner rekeys for those who are in, and cannot be removed.
      const after = await snapshot(store);
      assert.deepEqual(await store.changeRoomOwner("r", heir.endpoint), room);
      await fails("room_owner", store.removeMember("r", heir.endpoint));
      assert.deepEqual(await snapshot(store), after);
      const sealedKeys = keysFor([heir, offered, keyless]);
      assert.equal((await store.rekeyRoom("r", { epoch: 2, sealedKeys })).owner, heir.endpoint);
    });
  }

  it("changeRoomOwner() refuses the room of an active owner", async ({ store }) => {
    const { owner, heir } = await scene(store);
    const before = await snapshot(store);
    await fails("refused", store.changeRoomOwner("r", heir.endpoint));
    assert.deepEqual(await snapshot(store), before);
    await store.revokeUser(owner.endpoint);
    await store.restoreUser(owner.endpoint);
    await fails("refused", store.changeRoomOwner("r", heir.endpoint));
    assert.equal((await store.changeRoomOwner("r", owner.endpoint)).owner, owner.endpoint);
  });

  it("changeRoomOwner() to somebody who cannot own it changes nothing", async ({ store }) => {
    const { owner, offered, keyless } = await scene(store);
    await store.revokeUser(owner.endpoint);
    const before = await snapshot(store);
    await fails("not_found", store.changeRoomOwner("r", hexKey()));
    await fails("not_found", store.changeRoomOwner("none", offered.endpoint));
    await fails("conflict", store.changeRoomOwner("r", offered.endpoint));
    await fails("conflict", store.changeRoomOwner("r", keyless.endpoint));
    assert.deepEqual(await snapshot(store), before);
    await store.joinRoom("r", offered.endpoint);
    assert.equal((await store.changeRoomOwner("r", offered.endpoint)).owner, offered.endpoint);
  });

  it("changeRoomOwner() of a cleartext room asks for no key", async ({ store }) => {
    const { owner, keyless } = await scene(store, false);
    await store.revokeUser(owner.endpoint);
    assert.equal((await store.changeRoomOwner("r", keyless.endpoint)).owner, keyless.endpoint);
    assert.deepEqual(await invariantProblems(store), []);
  });

  it("of two who are made owner at once one is, and the other a member", async ({ store }) => {
    const [owner, a, b] = [newMember(), newMember(), newMember()];
    await store.createRoom(newRoom("r", { owner, members: [a, b] }));
    for (const it of [a, b]) await store.addUser(newUser({ signPub: it.endpoint }));
    const found = await outcomes([a, b].map((it) => store.changeRoomOwner("r", it.endpoint)));
    assert.deepEqual(found.sort(), ["ok", "refused"]);
    assert.deepEqual(await invariantProblems(store), []);
    assert.equal((await store.listMembers("r")).items.length, 2);
  });

  it("an owner whose access comes back beside a change of owner is one or the other", async (s) => {
    const { store } = s;
    for (let round = 0; round < 8; round++) {
      const [owner, heir] = [newMember(), newMember()];
      const id = `r${round}`;
      await store.addUser(newUser({ signPub: owner.endpoint, kexPub: owner.kexPub }));
      await store.createRoom(newRoom(id, { owner, members: [heir] }));
      await store.revokeUser(owner.endpoint);
      const [changed, restored] = await outcomes([
        store.changeRoomOwner(id, heir.endpoint),
        store.restoreUser(owner.endpoint),
      ]);
      assert.equal(restored, "ok");
      const room = await store.getRoom(id);
      assert.equal(room.owner, changed === "ok" ? heir.endpoint : owner.endpoint, changed!);
    }
    assert.deepEqual(await invariantProblems(store), []);
  });
}
