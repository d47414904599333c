/** Rooms that an owner hands over: members' clients believe its statement, and no other. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  cardOf,
  createIdentity,
  type Identity,
  isSealingError,
  isStoreError,
  StoreError,
} from "../../../src/client/mod.ts";
import { Keyring } from "../../../src/client/rooms/keyring.ts";
import type { RoomContext } from "../../../src/client/rooms/parts.ts";
import { Trust } from "../../../src/client/rooms/trust.ts";
import type { Handover, Room } from "../../../src/core/model.ts";
import { toBase64url } from "../../../src/keys/bytes.ts";
import { handoverBytes } from "../../../src/keys/codec/handover.ts";
import { nodePrimitives, roomKeysOf } from "../../../src/sealing/primitives_node.ts";
import { sealRoomKey } from "../../../src/sealing/sealed_key.ts";
import { NODE, WEB } from "../../sealing/parts.ts";
import { Heard, type Person, until, village } from "./village.ts";

const wrongSealer = (error: unknown) => isSealingError(error, "wrong_sealer");

function signed(from: Identity, to: Identity, epoch: number, roomId = "r"): Handover {
  const statement = { from: from.signPub, to: to.signPub, epoch };
  const signature = from.signHandover(handoverBytes(roomId, statement));
  return { ...statement, signature: Buffer.from(signature).toString("base64url") };
}

const [a, b, c] = [createIdentity(), createIdentity(), createIdentity()] as const;

/** What a client that knows `a` as the owner, and the room at epoch 4, makes of an owner. */
function trustOf(memory = new Map([["owner r", a.signPub], ["epoch r", "4"]])) {
  const trust = new Trust(memory, { verifies: nodePrimitives.verifies });
  return {
    trust,
    memory,
    believes: (owner: Identity, ...handovers: Handover[]) =>
      trust.owner("r", owner.signPub, { handovers }),
    refuses: (owner: Identity, ...handovers: Handover[]) =>
      assert.rejects(trust.owner("r", owner.signPub, { handovers }), wrongSealer),
  };
}

Deno.test("a new owner is believed on the statement of the one before, and on no other", async () => {
  const it = trustOf();
  const right = signed(a, b, 4);
  await it.refuses(b);
  const other = { from: c.signPub, to: b.signPub, epoch: 4 };
  const byKnown = Buffer.from(a.signHandover(handoverBytes("r", other))).toString("base64url");
  const forged: [string, Handover][] = [
    ["that names another owner", { ...other, signature: byKnown }],
    ["of another room", signed(a, b, 4, "s")],
    ["of an owner who is not the one that is known", signed(c, b, 4)],
    ["signed by another key", { ...signed(c, b, 4), from: a.signPub }],
    ["for another new owner", signed(a, c, 4)],
    ["for another new owner, changed", { ...signed(a, c, 4), to: b.signPub }],
    ["of another epoch, changed", { ...right, epoch: 5 }],
    ["of an epoch before the newest key that is known", signed(a, b, 3)],
    ["with another signature", { ...right, signature: signed(a, b, 5).signature }],
    ["with no signature", { ...right, signature: "" }],
  ];
  for (const [what, handover] of forged) {
    await assert.rejects(trustOf().believes(b, handover), wrongSealer, what);
  }
  await new Trust(it.memory).owner("r", b.signPub, { handovers: [right] })
    .then(() => assert.fail("without a verifier"), (error) => assert.ok(wrongSealer(error)));
  await it.believes(b, right);
  assert.equal(it.memory.get("owner r"), b.signPub);
  // Keys that the former owner seals later are not accepted.
  assert.deepEqual(await it.trust.sealers("r", 4), [b.signPub, a.signPub]);
  assert.deepEqual(await it.trust.sealers("r", 5), [b.signPub]);
  await it.believes(b);
  await it.refuses(a, right);
});

Deno.test("a former owner seals no later than an epoch that was proved, whatever its statement names", async () => {
  const it = trustOf();
  await it.believes(b, signed(a, b, 1000));
  await it.trust.limitFormer("r", 1000);
  assert.deepEqual(await it.trust.sealers("r", 1000), [b.signPub, a.signPub]);
  await it.trust.limitFormer("r", 5);
  assert.deepEqual(await it.trust.sealers("r", 5), [b.signPub, a.signPub]);
  assert.deepEqual(await it.trust.sealers("r", 6), [b.signPub]);
  // Nor does it stand in the way of the next hand-over.
  await it.believes(c, signed(b, c, 6));
});

/** The keyring of `c`, who asks a control plane for room `r`; keys are sealed by `a`. */
function keyringOf(
  getRoom: () => Partial<Room> | Promise<Partial<Room>>,
  beforeKey: (epoch: number) => Promise<void> = () => Promise.resolve(),
) {
  const { trust } = trustOf();
  const createdAt = new Date().toISOString();
  const common = { id: "r", subject: "r", encrypted: true, createdAt };
  const client = {
    getRoom: async () => ({ ...common, ...await getRoom() }),
    getSealedKey: async (roomId: string, epoch: number) => {
      await beforeKey(epoch);
      const place = { roomId, epoch, endpoint: c.signPub, kexPub: c.kexPub };
      const sealedKey = await sealRoomKey(nodePrimitives, roomKeysOf(a), place, randomBytes(32));
      return { roomId, epoch, endpoint: c.signPub, createdAt, sealedKey };
    },
  } as unknown as RoomContext["client"];
  const context = { client, keys: roomKeysOf(c), primitives: nodePrimitives, trust };
  return { trust, common, keyring: new Keyring(context, "r") };
}

Deno.test("a key that comes late takes neither a new owner back nor a former owner's last key", async () => {
  const rooms = [
    { epoch: 5, owner: a.signPub },
    { epoch: 6, owner: b.signPub, handovers: [signed(a, b, 6)] },
  ];
  const late = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const { keyring, trust } = keyringOf(() => rooms.shift()!, async (epoch) => {
    if (epoch !== 5) return;
    asked.resolve();
    await late.promise;
  });
  const first = keyring.refresh();
  await asked.promise;
  await keyring.refresh();
  late.resolve();
  await first;
  assert.equal(keyring.epoch, 6);
  assert.equal(keyring.room.owner, b.signPub);
  assert.deepEqual(await trust.sealers("r", 6), [b.signPub, a.signPub]);
});

Deno.test("a room that was read before a hand-over, and comes after it, is read again", async () => {
  const now = { epoch: 4, owner: b.signPub, handovers: [signed(a, b, 4)] };
  const old = Promise.withResolvers<Partial<Room>>();
  const asked = Promise.withResolvers<void>();
  const answers = [old.promise, now];
  const { keyring, common } = keyringOf(() => {
    asked.resolve();
    return answers.shift()!;
  });
  const first = keyring.refresh();
  await asked.promise;
  await keyring.take({ ...common, ...now }, 4);
  old.resolve({ epoch: 4, owner: a.signPub });
  await first;
  assert.equal(keyring.room.owner, b.signPub);
});

Deno.test("a browser signs and believes a hand-over as a program does", async () => {
  for (const signing of [NODE, WEB]) {
    const keys = await signing.keysOf(a);
    const statement = { from: a.signPub, to: b.signPub, epoch: 4 };
    const bytes = handoverBytes("r", statement);
    const signature = toBase64url(await keys.signHandover(bytes));
    for (const { primitives, name } of [NODE, WEB]) {
      const trust = new Trust(new Map([["owner r", a.signPub]]), primitives);
      const handovers = [{ ...statement, signature }];
      await trust.owner("r", b.signPub, { handovers });
      assert.deepEqual(await trust.sealers("r", 5), [b.signPub], `${signing.name}, ${name}`);
    }
    const other = bytes.subarray(0, -1);
    await assert.rejects(async () => await keys.signHandover(other), { code: "refused" });
  }
});

Deno.test("a statement from before the room came back to its owner is not believed again", async () => {
  const [first, back] = [signed(a, b, 4), signed(b, a, 6)];
  for (const seen of ["each", "the end"]) {
    const it = trustOf();
    if (seen === "each") await it.believes(b, first);
    await it.believes(a, first, back);
    assert.equal(await it.trust.handedOverAt("r"), 6);
    // The control plane leaves out the return, or puts the first statement behind it.
    await it.refuses(b, first);
    await it.refuses(b, first, back, first);
    await it.refuses(b, back, first);
    await it.refuses(b, signed(a, b, 6));
    await it.believes(b, signed(a, b, 7));
    // After a restart too.
    await trustOf(it.memory).refuses(a, back);
  }
});

Deno.test("a member that was away follows the hand-overs one by one, and is asked where an admin came between", async () => {
  const it = trustOf();
  await it.believes(c, signed(a, b, 4), signed(b, c, 5));
  assert.deepEqual(await it.trust.sealers("r", 4), [c.signPub, a.signPub, b.signPub]);
  assert.deepEqual(await it.trust.sealers("r", 5), [c.signPub, b.signPub]);
  const asked: unknown[] = [];
  const memory = new Map([["owner r", a.signPub]]);
  const acceptOwner = (change: unknown) => asked.push(change) > 0;
  const asking = new Trust(memory, { verifies: nodePrimitives.verifies, acceptOwner });
  await asking.owner("r", c.signPub, { handovers: [signed(a, b, 4)] });
  assert.deepEqual(asked, [{ roomId: "r", from: b.signPub, to: c.signPub }]);
  // One that signed what it does not own gets nowhere, nor do two of one epoch.
  await trustOf().refuses(c, signed(b, c, 5));
  await trustOf().refuses(c, signed(a, b, 4), signed(b, c, 4));
  // An owner who was accepted can make a statement in the same epoch.
  const accepting = new Trust(trustOf().memory, { verifies: nodePrimitives.verifies, acceptOwner });
  await accepting.owner("r", b.signPub);
  await accepting.owner("r", c.signPub, { handovers: [signed(b, c, 4)] });
  assert.equal(asked.length, 2);
});

Deno.test("a memory that ended in the middle of a hand-over takes it up again", async () => {
  const all = [signed(a, c, 4), signed(c, a, 5), signed(a, b, 6)];
  for (let last = 0; last < 6; last++) {
    const it = trustOf();
    const set = it.memory.set.bind(it.memory);
    let writes = 0;
    it.memory.set = (key, value) => {
      if (writes++ === last) throw new Error("ended");
      return set(key, value);
    };
    await assert.rejects(it.believes(b, ...all), /ended/);
    it.memory.set = set;
    const again = trustOf(it.memory);
    await again.believes(b, ...all);
    assert.equal(again.memory.get("owner r"), b.signPub);
    const former: { owner: string; until: number }[] = JSON.parse(again.memory.get("former r")!);
    assert.deepEqual(
      new Set(former.map(({ owner, until }) => `${owner} ${until}`)),
      new Set([`${a.signPub} 4`, `${c.signPub} 5`, `${a.signPub} 6`]),
    );
  }
});

Deno.test("an owner hands a room over: members go on unasked, and the new owner makes the keys", async () => {
  await using it = await village();
  const [ada, bob, cy] = [await it.person(), await it.person(), await it.person()];
  const endpoint = bob.identity.signPub;
  const asked = (): boolean => assert.fail("asked");
  const open = (who: Person) => who.rooms({ refreshInterval: 50, acceptOwner: asked });
  const adas = await (await open(ada)).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity), cardOf(cy.identity)],
  });
  const owner = ada.identity.signPub;
  const cys = await (await open(cy)).join("kitchen", { owner });
  // It has not accepted yet, or is no member.
  await assert.rejects(adas.handOver(endpoint), (error) => isStoreError(error, "conflict"));
  const stranger = createIdentity().signPub;
  await assert.rejects(adas.handOver(stranger), (error) => isStoreError(error, "not_found"));
  const bobs = await (await open(bob)).join("kitchen", { owner });
  const attempts = () => it.writes.filter((write) => write.endsWith("/handover")).length;
  const before = attempts();
  await assert.rejects(bobs.handOver(owner), (error) => isStoreError(error, "forbidden"));
  // It signs no statement that could be used once it is the owner.
  assert.equal(attempts(), before);
  await adas.handOver(endpoint);
  assert.equal(adas.owner, endpoint);
  await until(() => bobs.owner === endpoint && cys.owner === endpoint, "the new owner");
  await assert.rejects(adas.rekey(), (error) => isStoreError(error, "forbidden"));
  await until(() => bobs.epoch === 2, "the new owner's key");
  const heard = new Heard(cys);
  await bobs.send("soup");
  await adas.send("thanks");
  for (const text of ["soup", "thanks"]) await heard.heard(text);
  // Two in one epoch: the second has a new key first, so that no statement can be used twice.
  await bobs.handOver(owner);
  await until(() => adas.owner === owner && cys.owner === owner, "the owner of before");
  await adas.handOver(endpoint);
  assert.deepEqual([adas.owner, adas.epoch], [endpoint, 3]);
  const { handovers } = await it.store.getRoom("kitchen");
  assert.deepEqual(handovers!.map(({ to, epoch }) => [to, epoch]), [
    [endpoint, 1],
    [owner, 2],
    [endpoint, 3],
  ]);
  await until(() => cys.owner === endpoint && cys.epoch === 4, "the third owner, and its key");
  assert.deepEqual([...ada.problems, ...bob.problems, ...cy.problems], []);
});

Deno.test("a hand-over is made with the newest key, and after another one with a new key", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const again = await it.person(ada.identity);
  const adas = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const bobs = await (await bob.rooms()).join("kitchen");
  // Another program of the owner makes a key and tells nobody.
  const connection = await it.wire();
  const silent = await (await again.rooms({ nats: { connection } })).join("kitchen");
  connection.publish = () => {};
  assert.equal(await silent.rekey(), 2);
  await adas.handOver(bob.identity.signPub);
  assert.equal(adas.epoch, 2);
  // The new owner knows that it is the owner, and could not make its key.
  const { rekeyRoom } = bob.client;
  bob.client.rekeyRoom = () => Promise.reject(new StoreError("unavailable", "m"));
  await bobs.refresh();
  assert.deepEqual([bobs.owner, bobs.epoch], [bob.identity.signPub, 2]);
  bob.client.rekeyRoom = rekeyRoom;
  await bobs.handOver(ada.identity.signPub);
  const { handovers } = await it.store.getRoom("kitchen");
  assert.deepEqual(handovers!.map((one) => one.epoch), [2, 3]);
});

Deno.test("a hand-over whose answer was lost is found in the room; one that was not made has failed", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const adas = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  await (await bob.rooms()).join("kitchen");
  const { handOverRoom } = ada.client;
  const lost = new StoreError("unavailable", "no answer");
  ada.client.handOverRoom = () => Promise.reject(lost);
  await assert.rejects(adas.handOver(bob.identity.signPub), lost);
  // It says done, and does nothing.
  ada.client.handOverRoom = (id) => it.store.getRoom(id);
  await assert.rejects(adas.handOver(bob.identity.signPub), { code: "unsupported" });
  assert.equal(adas.owner, ada.identity.signPub);
  ada.client.handOverRoom = async (...args) => {
    await handOverRoom(...args);
    throw lost;
  };
  await adas.handOver(bob.identity.signPub);
  assert.equal(adas.owner, bob.identity.signPub);
});

Deno.test("a device that never knew the former owner opens the room with the new owner's key", async () => {
  await using it = await village();
  const [ada, bob, cy] = [await it.person(), await it.person(), await it.person()];
  const adas = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity), cardOf(cy.identity)],
  });
  const opens = async (who: Person) =>
    await (await who.rooms({ memory: new Map() })).join("kitchen");
  const rooms = await bob.rooms();
  const bobs = await rooms.join("kitchen");
  await opens(cy);
  await adas.handOver(bob.identity.signPub);
  // Until the new owner is there, such a device has nothing to believe the key by.
  await assert.rejects(opens(cy), wrongSealer);
  await bobs.refresh();
  assert.equal(bobs.epoch, 2);
  for (const who of [ada, bob, cy]) {
    const { owner, epoch } = await opens(who);
    assert.deepEqual([owner, epoch], [bob.identity.signPub, 2]);
  }
  await bobs.refresh();
  assert.equal(bobs.epoch, 2, "one new key is enough");
  assert.deepEqual([...ada.problems, ...bob.problems, ...cy.problems], []);
});

Deno.test("a control plane cannot make up a hand-over, nor let a former owner seal", async () => {
  await using it = await village();
  const [ada, bob, cy] = [await it.person(), await it.person(), await it.person()];
  const adas = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity), cardOf(cy.identity)],
  });
  const owner = ada.identity.signPub;
  const join = async (who: Person) => await (await who.rooms()).join("kitchen", { owner });
  await (await join(bob)).close();
  await (await join(cy)).close();
  const false_ = { from: owner, to: bob.identity.signPub, epoch: 1 };
  const signature = Buffer.from(
    bob.identity.signHandover(handoverBytes("kitchen", false_)),
  ).toString("base64url");
  // Neither told to a member, nor stored by another member's request.
  cy.lie(({ path }, answer) =>
    path === "/v1/rooms/kitchen"
      ? { ...answer, owner: false_.to, handovers: [{ ...false_, signature }] }
      : answer
  );
  await assert.rejects(join(cy), wrongSealer);
  cy.lie(null);
  const attempts = [
    [bob, { ...false_, signature }, "forbidden"],
    [ada, { ...false_, signature }, "forbidden"],
    [ada, { ...signed(bob.identity, ada.identity, 1, "kitchen") }, "forbidden"],
    [ada, { ...signed(ada.identity, bob.identity, 1, "garden") }, "forbidden"],
  ] as const;
  for (const [who, handover, code] of attempts) {
    await assert.rejects(
      who.client.handOverRoom("kitchen", handover),
      (error) => isStoreError(error, code),
    );
  }
  assert.equal((await it.store.getRoom("kitchen")).owner, owner);
  await adas.handOver(bob.identity.signPub);
  // A statement of the former owner that names an epoch far ahead, until which it could seal keys.
  const ahead = signed(ada.identity, bob.identity, 1000, "kitchen");
  cy.lie(({ path }, answer) =>
    path === "/v1/rooms/kitchen" ? { ...answer, handovers: [ahead] } : answer
  );
  const before = await join(cy);
  assert.equal(before.owner, bob.identity.signPub);
  await before.close();
  cy.lie(null);
  // The former owner seals the next key, with the control plane's help.
  const roomKey = new Uint8Array(randomBytes(32));
  const sealedKeys = await Promise.all([ada, bob, cy].map(async ({ identity }) => {
    const { signPub: endpoint, kexPub } = identity;
    const place = { roomId: "kitchen", epoch: 2, endpoint, kexPub };
    const sealedKey = await sealRoomKey(nodePrimitives, ada.identity, place, roomKey);
    return { endpoint, sealedKey };
  }));
  await it.store.rekeyRoom("kitchen", { epoch: 2, sealedKeys });
  await assert.rejects((await cy.rooms()).join("kitchen"), (error) => {
    assert.ok(wrongSealer(error), String(error));
    return /is sealed by/.test((error as Error).message);
  });
});

Deno.test("an owner sees who waits for its room, and adds them", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), createIdentity()];
  const room = await (await ada.rooms()).createRoom({ id: "kitchen" });
  assert.deepEqual(await room.waiting(), []);
  const { token } = await it.store.createInvite({ createdBy: "cli", room: "kitchen" });
  const { signPub, kexPub } = bob;
  const user = await it.store.consumeInvite(token, { signPub, kexPub, handle: "bob" });
  assert.deepEqual(await room.waiting(), [user]);
  await room.addMember(user);
  assert.deepEqual(await room.waiting(), []);
  const bobs = await (await (await it.person(bob)).rooms()).join("kitchen");
  assert.equal(bobs.epoch, 1);
});
