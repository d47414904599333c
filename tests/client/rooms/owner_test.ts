/** Revocation reaches sealing: revoked members get no new key, and a revoked owner's room goes on. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  cardOf,
  isSealingError,
  isStoreError,
  type OwnerChange,
  type RoomsOptions,
} from "../../../src/client/mod.ts";
import type { Member } from "../../../src/core/model.ts";
import { Trust } from "../../../src/client/rooms/trust.ts";
import { MessageSealer } from "../../../src/sealing/message.ts";
import { isSealedBy, sealRoomKey } from "../../../src/sealing/sealed_key.ts";
import { nodePrimitives } from "../../../src/sealing/primitives_node.ts";
import { Heard, type Person, until, village } from "./village.ts";

const wrongSealer = (error: unknown) => isSealingError(error, "wrong_sealer");

Deno.test("who was revoked is taken out before the next key is sealed", async () => {
  await using it = await village();
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const rooms = await ada.rooms();
  const room = await rooms.createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity), cardOf(eve.identity)],
  });
  await it.store.revokeUser(eve.identity.signPub);
  const listed = (await room.members()) as { endpoint: string; status?: string | null }[];
  assert.equal(listed.find((m) => m.endpoint === eve.identity.signPub)!.status, "revoked");
  assert.equal(await room.rekey(), 2);
  const endpoints = (items: { endpoint: string }[]) => items.map((m) => m.endpoint).sort();
  const staying = endpoints([ada, bob].map((p) => ({ endpoint: p.identity.signPub })));
  assert.deepEqual(endpoints((await it.store.listMembers("kitchen")).items), staying);
  assert.deepEqual(
    endpoints((await it.store.listSealedKeys("kitchen", { epoch: 2 })).items),
    staying,
  );
  // Put onto the list again by the control plane, it still gets no key.
  await it.store.restoreUser(eve.identity.signPub);
  const { signPub: endpoint, kexPub } = eve.identity;
  await it.store.addMember("kitchen", { endpoint, kexPub });
  await assert.rejects(room.rekey(), (error) => isSealingError(error, "key_changed"));
  await room.addMember(cardOf(eve.identity));
  assert.equal(await room.rekey(), 3);
  // A member can be given as a user too: its X25519 key is sealed to, and compared with the card's.
  const dan = await it.person();
  await room.addMember(await ada.client.getUser(dan.identity.signPub));
  await room.addMember(cardOf(dan.identity));
  assert.deepEqual(await room.lacking(), []);
  const stranger = (await it.person()).identity.signPub;
  await assert.rejects(room.removeMember(stranger), (error) => isStoreError(error, "not_found"));
  assert.equal(room.epoch, 3);
});

Deno.test("the owner's program notices a revocation and makes a new key by itself", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const rooms = await ada.rooms({ refreshInterval: 50 });
  const room = await rooms.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  await it.store.revokeUser(bob.identity.signPub);
  await until(() => room.epoch === 2, "a new key");
  assert.equal((await it.store.listMembers("kitchen")).items.length, 1);
  assert.deepEqual(ada.problems, []);
});

Deno.test("a new room's members are not read back from the control plane", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const asked: string[] = [];
  ada.lie(({ method, path }) => void asked.push(`${method} ${path}`));
  const rooms = await ada.rooms({ refreshInterval: 600_000 });
  const room = await rooms.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  const heard = new Heard(room);
  await (await (await bob.rooms()).join("kitchen")).send("hello");
  await heard.heard("hello");
  assert.deepEqual(asked.filter((path) => path.includes("/rooms")), ["POST /v1/rooms"]);
});

Deno.test("the keys that a program sealed itself are not read back for the next key, another's are", async () => {
  await using it = await village();
  const [ada, bob, cy] = [await it.person(), await it.person(), await it.person()];
  let lists = 0;
  const client: typeof ada.client = {
    ...ada.client,
    listSealedKeys(...given) {
      lists++;
      return ada.client.listSealedKeys(...given);
    },
  };
  const options = { refreshInterval: 600_000 };
  const room = await (await ada.rooms({ client, ...options })).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  assert.equal(await room.rekey(), 2);
  await room.addMember(cardOf(cy.identity));
  await room.removeMember(bob.identity.signPub);
  assert.deepEqual([room.epoch, lists], [3, 0]);
  const elsewhere = await (await ada.rooms(options)).join("kitchen");
  await elsewhere.addMember(cardOf(bob.identity));
  assert.equal(await room.rekey(), 4);
  assert.equal(lists, 1);
  assert.equal(await room.rekey(), 5);
  assert.equal(lists, 1);
  assert.deepEqual(await room.lacking(), []);
  // With another X25519 key it is not the member that the key was sealed for.
  const { kexPub } = (await it.person()).identity;
  ada.lie(({ path }, answer) => {
    if (!path.endsWith("/members")) return answer;
    const lied = answer.items.find((m: Member) => m.endpoint === bob.identity.signPub);
    lied.kexPub = kexPub;
    return answer;
  });
  await assert.rejects(room.rekey(), (error) => isSealingError(error, "key_changed"));
  assert.equal(room.epoch, 5);
});

Deno.test("a removal does not wait for a look at who has left, which then changes nothing", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const created = await ada.rooms();
  await created.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  await created.close();
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  let lists = 0;
  const client: typeof ada.client = {
    ...ada.client,
    async listSealedKeys(...given) {
      if (lists++ === 0) {
        begun.resolve();
        await gate.promise;
      }
      return await ada.client.listSealedKeys(...given);
    },
  };
  const rooms = await ada.rooms({ client, refreshInterval: 600_000 });
  const room = await rooms.join("kitchen");
  await begun.promise;
  await room.removeMember(bob.identity.signPub);
  assert.equal(room.epoch, 2);
  gate.resolve();
  // Waits for the look under way, too.
  await room.refresh();
  assert.equal(room.epoch, 2);
  assert.deepEqual(ada.problems, []);
});

/** A room of ada, whom bob and cy have joined; ada is then revoked, and the room given to bob. */
async function orphaned(it: Awaited<ReturnType<typeof village>>) {
  const [ada, bob, cy] = [await it.person(), await it.person(), await it.person()];
  const owner = ada.identity.signPub;
  const members = [cardOf(bob.identity), cardOf(cy.identity)];
  const adas = await ada.rooms();
  const room = await adas.createRoom({ id: "kitchen", members });
  const join = async (who: Person, options: Partial<RoomsOptions> = {}) =>
    await (await who.rooms({ refreshInterval: 50, ...options })).join("kitchen", { owner });
  return {
    ada,
    bob,
    cy,
    room,
    join,
    async handOver() {
      await bob.client.joinRoom("kitchen");
      await it.store.revokeUser(owner);
      await it.store.changeRoomOwner("kitchen", bob.identity.signPub);
    },
  };
}

Deno.test("a room of a revoked owner goes on for those whose person trusts the new one", async () => {
  await using it = await village();
  const { ada, bob, cy, join, handOver } = await orphaned(it);
  const asked: OwnerChange[] = [];
  const acceptOwner = (change: OwnerChange) => {
    asked.push(change);
    return Promise.resolve(true);
  };
  const bobs = await join(bob, { acceptOwner });
  const cys = await join(cy);
  await handOver();
  // The new owner's program makes a key of its own, without the former owner.
  await until(() => bobs.epoch === 2, "a new key");
  const change = { roomId: "kitchen", from: ada.identity.signPub, to: bob.identity.signPub };
  assert.deepEqual(asked, [change]);
  assert.equal(bobs.owner, bob.identity.signPub);
  const { items } = await it.store.listSealedKeys("kitchen", { epoch: 2 });
  assert.equal(items.length, 2);
  const { signPub: endpoint, kexPub } = cy.identity;
  const cysKey = items.find((key) => key.endpoint === endpoint)!.sealedKey;
  const place = { roomId: "kitchen", epoch: 2, endpoint, kexPub };
  assert.ok(await isSealedBy(nodePrimitives, bob.identity.signPub, place, cysKey));
  // By default nobody is asked, and the answer is no.
  await until(() => cy.problems.some(({ error }) => wrongSealer(error)), "the refusal");
  assert.deepEqual([cys.epoch, cys.owner], [1, ada.identity.signPub]);
  await cys.close();
  await assert.rejects(join(cy), wrongSealer);
  const refusing = await cy.rooms({ acceptOwner: () => false });
  await assert.rejects(refusing.join("kitchen"), wrongSealer);
  // A yes is remembered, and both talk again.
  const again = await cy.rooms({ acceptOwner, refreshInterval: 50 });
  const room = await again.join("kitchen");
  assert.deepEqual(asked, [change, change]);
  assert.equal(room.epoch, 2);
  const heard = new Heard(room);
  await bobs.send("who cooks?");
  await heard.heard("who cooks?");
  await room.close();
  const later = await (await cy.rooms()).join("kitchen", { owner: bob.identity.signPub });
  assert.equal(later.epoch, 2);
  // What was said under the key of before can still be read.
  assert.deepEqual(await new Trust(cy.memory).sealers("kitchen", 1), [
    bob.identity.signPub,
    ada.identity.signPub,
  ]);
  assert.deepEqual(await bobs.lacking(), []);
  const dan = await it.person();
  await bobs.addMember(cardOf(dan.identity));
  const dans = await (await dan.rooms()).join("kitchen", { owner: bob.identity.signPub });
  assert.equal(dans.epoch, 2);
});

Deno.test("a new owner who was away opens the room by the last key of the former one", async () => {
  await using it = await village();
  const { bob, room, join, handOver } = await orphaned(it);
  await (await join(bob)).close();
  await room.rekey();
  await handOver();
  const bobs = await join(bob, { acceptOwner: () => true });
  assert.equal(bobs.owner, bob.identity.signPub);
  await until(() => bobs.epoch === 3, "a key of its own");
});

Deno.test("a former owner seals no key that comes after it, even with the control plane's help", async () => {
  await using it = await village();
  const { ada, bob, cy, join, handOver } = await orphaned(it);
  await (await join(cy)).close();
  await handOver();
  const rooms = await cy.rooms({ acceptOwner: () => true });
  // The key that both held stays good until the new owner makes one.
  const room = await rooms.join("kitchen");
  assert.deepEqual([room.owner, room.epoch], [bob.identity.signPub, 1]);
  await room.close();
  const roomKey = new Uint8Array(randomBytes(32));
  const sealedKeys = await Promise.all([bob, cy].map(async ({ identity }) => {
    const { signPub: endpoint, kexPub } = identity;
    const place = { roomId: "kitchen", epoch: 2, endpoint, kexPub };
    return { endpoint, sealedKey: await sealRoomKey(nodePrimitives, ada.identity, place, roomKey) };
  }));
  await it.store.rekeyRoom("kitchen", { epoch: 2, sealedKeys });
  await assert.rejects(rooms.join("kitchen"), wrongSealer);
});

Deno.test("rooms can be closed while a person is being asked", async () => {
  await using it = await village();
  const { ada, cy, join, handOver } = await orphaned(it);
  let asking = 0;
  const acceptOwner = () => {
    asking++;
    return new Promise<boolean>(() => {});
  };
  const rooms = await cy.rooms({ acceptOwner, refreshInterval: 600_000 });
  const room = await rooms.join("kitchen");
  await handOver();
  // Asked because of a message, which waits for the answer, and by a check.
  const place = { roomId: "kitchen", epoch: 2 };
  const sealer = new MessageSealer(nodePrimitives, ada.identity, place, randomBytes(32));
  const wire = await it.wire();
  wire.publish(room.subject, (await sealer.seal(new Uint8Array())).bytes);
  await until(() => asking > 0, "the question");
  void room.refresh();
  await room.close();
  await rooms.close();
  assert.equal(asking, 1);
  const connection = await it.wire();
  const others = await cy.rooms({ acceptOwner, nats: { connection } });
  const hall = await others.createRoom({ id: "hall" });
  const joining = others.join("kitchen");
  await until(() => asking > 1, "the question");
  // The others need not wait for the answer either.
  await connection.close();
  assert.ok(isStoreError(await hall.ended, "unavailable"));
  await Promise.all([
    others.close(),
    assert.rejects(joining, (error) => isStoreError(error, "closed")),
  ]);
  await assert.rejects(join(cy), wrongSealer);
});

Deno.test("a new owner that was refused is not asked about again, another one is", async () => {
  const asked: string[] = [];
  const memory = new Map([["epoch r", "4"]]);
  const acceptOwner = ({ to }: OwnerChange) => {
    asked.push(to);
    return to === "cc".repeat(32);
  };
  const trust = new Trust(memory, { acceptOwner });
  const [a, b, c] = ["aa", "bb", "cc"].map((it) => it.repeat(32)) as [string, string, string];
  await trust.owner("r", a);
  await assert.rejects(trust.owner("r", b), wrongSealer);
  await assert.rejects(trust.owner("r", b), wrongSealer);
  await Promise.all([trust.owner("r", c), trust.owner("r", c)]);
  assert.deepEqual(asked, [b, c]);
  assert.equal(trust.isAsking("r"), false);
  assert.deepEqual(await trust.sealers("r", 4), [c, a]);
  assert.deepEqual(await trust.sealers("r", 5), [c]);
  // Of what is no boolean, nothing is a yes.
  const careless = new Trust(memory, { acceptOwner: () => "no" as unknown as boolean });
  await assert.rejects(careless.owner("r", a), wrongSealer);
  await assert.rejects(new Trust(memory).owner("r", a), wrongSealer);
  for (const text of ["", "{}", `[{"owner":"x","until":1}]`, `[{"owner":"${a}","until":-1}]`]) {
    const damaged = new Trust(new Map([["former r", text], ["owner r", c]]));
    await assert.rejects(damaged.sealers("r", 1), { code: "corrupt" });
  }
});
