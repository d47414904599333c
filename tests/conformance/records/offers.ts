/**
 * Offered memberships: made, accepted, declined, and counted among the members meanwhile.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Store } from "../../../src/core/store.ts";
import { fails, hexKey, keysFor, newMember, newMembers, newRoom, sealed } from "../kit/kit.ts";
import { outcomes, snapshot, tally } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** The rooms of an endpoint: all, those accepted, those only offered. */
async function roomsOf(store: Store, endpoint: string): Promise<string[][]> {
  const lists = [{}, { accepted: true }, { accepted: false }].map((it) =>
    store.listRoomsForEndpoint(endpoint, it)
  );
  return (await Promise.all(lists)).map(({ items }) => items.map((it) => it.id));
}

/** Registers the tests of offers. */
export function offers(it: It): void {
  it("joinRoom() accepts an offer, once and for all", async ({ store, clock }) => {
    await store.createRoom(newRoom("r"));
    const who = newMember();
    const offer = await store.addMember("r", { ...who, accepted: false });
    assert.deepEqual([offer.accepted, offer.joinedAt], [false, clock.iso()]);
    assert.deepEqual(await store.getMember("r", who.endpoint), offer);
    assert.deepEqual(await roomsOf(store, who.endpoint), [["r"], [], ["r"]]);
    clock.now += 1000;
    const joined = { ...offer, accepted: true };
    assert.deepEqual(await store.joinRoom("r", who.endpoint.toUpperCase()), joined);
    assert.deepEqual(await roomsOf(store, who.endpoint), [["r"], ["r"], []]);
    assert.deepEqual(await store.joinRoom("r", who.endpoint), joined);
    assert.deepEqual(await store.getMember("r", who.endpoint), joined);
    const { items } = await store.listMembers("r");
    assert.ok(items.every((member) => member.accepted));
  });

  it("a member counts as accepted unless it is told otherwise", async ({ store }) => {
    const [asked, plain, offered] = [newMember(), newMember(), newMember()];
    const room = newRoom("r", {
      members: [{ ...asked, accepted: true }, plain, { ...offered, accepted: false }],
    });
    await store.createRoom(room);
    for (const { endpoint } of [room.owner, asked, plain]) {
      assert.deepEqual(await roomsOf(store, endpoint), [["r"], ["r"], []]);
    }
    assert.deepEqual(await roomsOf(store, offered.endpoint), [["r"], [], ["r"]]);
    // The owner makes the room itself.
    assert.equal((await store.joinRoom("r", room.owner.endpoint)).role, "owner");
  });

  it("joinRoom() of no member and of no room is not_found and changes nothing", async (scene) => {
    const { store } = scene;
    const room = newRoom("r", { members: [{ ...newMember(), accepted: false }] });
    await store.createRoom(room);
    await store.createRoom(newRoom("other"));
    const before = await snapshot(store);
    await fails("not_found", store.joinRoom("r", hexKey()));
    await fails("not_found", store.joinRoom("none", room.members![0]!.endpoint));
    await fails("not_found", store.joinRoom("other", room.members![0]!.endpoint));
    assert.deepEqual(await snapshot(store), before);
  });

  it("a declined offer is gone; offered again it is open again", async ({ store }) => {
    await store.createRoom(newRoom("r"));
    const who = newMember();
    await store.addMember("r", { ...who, accepted: false });
    await store.removeMember("r", who.endpoint);
    assert.deepEqual(await roomsOf(store, who.endpoint), [[], [], []]);
    await fails("not_found", store.joinRoom("r", who.endpoint));
    await store.addMember("r", who);
    await store.removeMember("r", who.endpoint);
    await store.addMember("r", { ...who, accepted: false });
    assert.deepEqual(await roomsOf(store, who.endpoint), [["r"], [], ["r"]]);
    await store.joinRoom("r", who.endpoint);
    await fails("member_exists", store.addMember("r", { ...who, accepted: false }));
    assert.deepEqual(await roomsOf(store, who.endpoint), [["r"], ["r"], []]);
  });

  it("exactly the members of a rekey are offers too, and offers have sealed keys", async (scene) => {
    const { store } = scene;
    const offered = newMember();
    const room = newRoom("r", { members: [{ ...offered, accepted: false }] });
    await store.createRoom(room);
    const late = newMember();
    await store.addMember("r", { ...late, accepted: false }, { epoch: 1, sealedKey: sealed() });
    assert.equal((await store.getSealedKey("r", late.endpoint)).epoch, 1);
    const rekey = (them: { endpoint: string }[]) =>
      store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor(them.map((it) => it.endpoint)) });
    await fails("missing_key", rekey([room.owner]));
    await rekey([room.owner, offered, late]);
    await store.putSealedKey({
      roomId: "r",
      epoch: 2,
      endpoint: late.endpoint,
      sealedKey: sealed(),
    });
    // Accepted meanwhile or not: the key of before is its own.
    await store.joinRoom("r", late.endpoint);
    assert.equal((await store.getSealedKey("r", late.endpoint)).epoch, 2);
  });

  it("many accept at once, and a rekey beside them is not lost", async ({ store }) => {
    const members = newMembers(20).map((it) => ({ ...it, accepted: false }));
    const room = newRoom("r", { members });
    await store.createRoom(room);
    const rekey = store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor([room.owner, ...members]) });
    const joins = members.map(({ endpoint }) => store.joinRoom("r", endpoint));
    assert.deepEqual(tally(await outcomes([...joins, rekey])), { ok: 21 });
    const { items } = await store.listMembers("r");
    assert.ok(items.every((it) => it.accepted));
    assert.equal((await store.getRoom("r")).epoch, 2);
  });

  it("joinRoom() beside a removal leaves no half of a membership", async ({ store }) => {
    for (let round = 0; round < 10; round++) {
      const who = newMember();
      const id = `r${round}`;
      await store.createRoom(newRoom(id, { members: [{ ...who, accepted: false }] }));
      const gone = round % 2 === 0 ? store.removeMember(id, who.endpoint) : store.deleteRoom(id);
      const [joined, removed] = await outcomes([store.joinRoom(id, who.endpoint), gone]);
      assert.equal(removed, "ok");
      assert.ok(joined === "ok" || joined === "not_found", joined!);
      assert.deepEqual(await roomsOf(store, who.endpoint), [[], [], []]);
      await fails("not_found", store.getMember(id, who.endpoint));
    }
  });

  it("pages of accepted rooms and of offers are whole", async ({ store }) => {
    const who = newMember();
    const ids = Array.from({ length: 9 }, (_, i) => `r${i}`);
    for (const [i, id] of ids.entries()) {
      const member = { ...who, accepted: i % 3 === 0 };
      await store.createRoom(newRoom(id, { encrypted: false, members: [member] }));
    }
    const read = async (accepted: boolean) => {
      const found: string[] = [];
      let after: string | null = null;
      do {
        const page = { limit: 2, after, accepted };
        const { items, next } = await store.listRoomsForEndpoint(who.endpoint, page);
        found.push(...items.map((it) => it.id));
        after = next;
      } while (after !== null);
      return found;
    };
    assert.deepEqual(await read(true), ids.filter((_, i) => i % 3 === 0));
    assert.deepEqual(await read(false), ids.filter((_, i) => i % 3 !== 0));
  });

  it("accepted that is no boolean is invalid", async ({ store }) => {
    const who = newMember();
    await store.createRoom(newRoom("r"));
    for (const accepted of [1, "true", {}] as unknown as boolean[]) {
      await fails("invalid", store.addMember("r", { ...who, accepted }), "member.accepted");
      const members = [{ ...who, accepted }];
      const room = { ...newRoom("s", { encrypted: false }), members };
      await fails("invalid", store.createRoom(room), "members[0].accepted");
      await fails("invalid", store.listRoomsForEndpoint(who.endpoint, { accepted }), "accepted");
    }
  }, "anyValue");
}
