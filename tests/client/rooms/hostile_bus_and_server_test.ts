/** Rooms whose control plane and whose bus lie: what they cannot do, and that it is named. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { fromSeed } from "@nats-io/nkeys";
import {
  cardOf,
  createIdentity,
  isSealingError,
  isStoreError,
  type SealingReason,
} from "../../../src/client/mod.ts";
import { bindingOf } from "../../../src/keys/identity_format.ts";
import { MessageSealer } from "../../../src/sealing/message.ts";
import { sealRoomKey } from "../../../src/sealing/sealed_key.ts";
import { nodePrimitives } from "../../../src/sealing/primitives_node.ts";
import { Heard, keyOf, type Lie, until, village } from "./village.ts";

const named = (...reasons: SealingReason[]) => (error: unknown) => {
  assert.ok(isSealingError(error), String(error));
  assert.ok(reasons.includes(error.reason), `${error.reason}: ${error.message}`);
  return true;
};
const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");

Deno.test("a control plane cannot hand out a room key of its own, or one meant for elsewhere", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const adaRooms = await ada.rooms();
  const room = await adaRooms.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  await room.rekey();
  await adaRooms.createRoom({ id: "hall", members: [cardOf(bob.identity)] });
  const rooms = await bob.rooms();
  const { signPub: endpoint, kexPub } = bob.identity;
  const place = { roomId: "kitchen", epoch: 2, endpoint, kexPub };
  const evil = createIdentity();
  const key = new Uint8Array(randomBytes(32));
  const answers: [string, Uint8Array, SealingReason][] = [
    ["its own", await sealRoomKey(nodePrimitives, evil, place, key), "wrong_sealer"],
    [
      "its own under the owner's name",
      await sealRoomKey(nodePrimitives, { ...evil, signPub: ada.identity.signPub }, place, key),
      "tampered",
    ],
    ["of another epoch", (await bob.client.getSealedKey("kitchen", 1)).sealedKey, "tampered"],
    ["of another room", (await bob.client.getSealedKey("hall")).sealedKey, "tampered"],
    ["of another member", (await ada.client.getSealedKey("kitchen")).sealedKey, "tampered"],
    ["noise", new Uint8Array(randomBytes(177)), "newer_version"],
    ["empty-handed", new Uint8Array([1]), "malformed"],
  ];
  for (const [what, sealedKey, reason] of answers) {
    bob.lie(({ path }, answer) =>
      path.endsWith("/key") ? { ...answer, sealedKey: base64url(sealedKey) } : answer
    );
    await assert.rejects(rooms.join("kitchen"), named(reason), what);
  }
  bob.lie(null);
  assert.equal((await rooms.join("kitchen")).epoch, 2);
});

Deno.test("a control plane cannot make itself the owner of a room that is known, or take an epoch back", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const evil = createIdentity();
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const { signPub: endpoint, kexPub } = bob.identity;
  const place = { roomId: "kitchen", epoch: 1, endpoint, kexPub };
  const forged = base64url(await sealRoomKey(nodePrimitives, evil, place, new Uint8Array(32)));
  const takeOver = ({ path }: { path: string }, answer: Record<string, unknown>) =>
    path.endsWith("/key")
      ? { ...answer, sealedKey: forged }
      : path.endsWith("/kitchen")
      ? { ...answer, owner: evil.signPub }
      : answer;
  bob.lie(takeOver);
  const rooms = await bob.rooms();
  // Told who the owner is, by whoever told of the room.
  await assert.rejects(rooms.join("kitchen", { owner: room.owner }), named("wrong_sealer"));
  // Or having been there before.
  await assert.rejects(rooms.join("kitchen"), named("wrong_sealer"));

  bob.lie(null);
  await room.rekey();
  const joined = await rooms.join("kitchen");
  assert.equal(joined.epoch, 2);
  await rooms.close();
  bob.lie(({ path }, answer) => path.endsWith("/kitchen") ? { ...answer, epoch: 1 } : answer);
  // The same memory, after a restart.
  await assert.rejects((await bob.rooms()).join("kitchen"), named("rolled_back"));
});

Deno.test("a wrong owner that was trusted at first is no longer once the person names the true one, and no sooner", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const evil = createIdentity();
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const { signPub: endpoint, kexPub } = bob.identity;
  const place = { roomId: "kitchen", epoch: 1, endpoint, kexPub };
  const sealed = base64url(await sealRoomKey(nodePrimitives, evil, place, new Uint8Array(32)));
  const takeOver: Lie = ({ path }, answer) =>
    path.endsWith("/key")
      ? { ...answer, sealedKey: sealed }
      : path.endsWith("/kitchen")
      ? { ...answer, owner: evil.signPub }
      : answer;
  bob.lie(takeOver);
  const deceived = await (await bob.rooms()).join("kitchen");
  assert.equal(deceived.owner, evil.signPub);
  bob.lie(null);
  // It has sealed keys of later epochs too.
  bob.memory.set("epoch kitchen", "1000");
  // Neither by itself, nor by the name of the true owner alone, which may come from the control plane.
  const owner = ada.identity.signPub;
  for (const options of [{}, { owner }]) {
    await assert.rejects((await bob.rooms()).join("kitchen", options), named("wrong_sealer"));
  }
  const asked: string[] = [];
  const rooms = await bob.rooms({ acceptOwner: ({ to }) => asked.push(to) === 1 });
  await assert.rejects(rooms.join("kitchen"), named("rolled_back"));
  assert.deepEqual(asked, [owner]);
  const unnamed = rooms.join("kitchen", { startOver: true });
  await assert.rejects(unnamed, (error) => isStoreError(error, "invalid"));
  const joined = await rooms.join("kitchen", { owner, startOver: true });
  assert.deepEqual([joined.owner, joined.epoch], [owner, 1]);
  const heard = new Heard(joined);
  await room.send("soup is ready");
  await heard.heard("soup is ready");
  // What is open is opened again, and what the wrong owner seals is refused.
  const again = await rooms.join("kitchen", { owner, startOver: true });
  assert.equal(await joined.ended, null);
  bob.lie(takeOver);
  await assert.rejects((await bob.rooms()).join("kitchen"), named("wrong_sealer"));
  bob.lie(null);
  await room.rekey();
  await until(() => again.epoch === 2, "the next key");
  assert.equal(bob.memory.get("epoch kitchen"), "2");
});

Deno.test("a control plane cannot slip somebody into a room, nor its own key under a member's name", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const evil = createIdentity();
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const member = { roomId: "kitchen", role: "member", joinedAt: new Date().toISOString() };
  const { signPub, kexPub } = evil;
  const lies = {
    "one more": (items: object[]) => [...items, { ...member, endpoint: signPub, signPub, kexPub }],
    "another key": (items: { endpoint: string }[]) =>
      items.map((it) => it.endpoint === bob.identity.signPub ? { ...it, kexPub } : it),
  };
  const before = it.writes.length;
  for (const [what, change] of Object.entries(lies)) {
    ada.lie(({ path }, answer) =>
      path.endsWith("/members") ? { ...answer, items: change(answer.items) } : answer
    );
    await assert.rejects(room.rekey(), named("key_changed"), what);
    assert.deepEqual(await room.lacking(), [what === "one more" ? signPub : bob.identity.signPub]);
    // Also for who remembers nothing: the owner's own signatures are what it knows.
    const again = await ada.rooms({ memory: new Map() });
    await assert.rejects((await again.join("kitchen")).rekey(), named("key_changed"), what);
    await again.close();
  }
  const written = it.writes.slice(before).filter((line) => !line.endsWith("/join"));
  assert.deepEqual(written, [], "nothing was sealed for it");
  ada.lie(null);
  assert.equal(await room.rekey(), 2);
});

Deno.test("a key of a peer that is known does not change, whoever says so; a card needs nobody's word", async () => {
  await using it = await village();
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const evil = createIdentity();
  const room = await (await ada.rooms()).createRoom({ id: "kitchen" });
  await room.addMember(bob.identity.signPub);
  ada.lie(({ path }, answer) =>
    path.includes("/users/") ? { ...answer, kexPub: evil.kexPub } : answer
  );
  await assert.rejects(room.addMember(bob.identity.signPub), named("key_changed"));
  await room.addMember(cardOf(eve.identity));
  const sealed = await eve.client.getSealedKey("kitchen");
  assert.equal((await (await eve.rooms()).join("kitchen")).epoch, sealed.epoch);
  // A card of somebody's making for another's signing key.
  const claimed = { signPub: bob.identity.signPub, kexPub: evil.kexPub };
  const signEndpoint = () => fromSeed(evil.natsSeed()).sign(bindingOf(claimed));
  await assert.rejects(room.addMember(cardOf({ ...claimed, signEndpoint })), { code: "invalid" });
});

Deno.test("a card replaces the key that a control plane named first, for the owner and for its member", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const { identity: { signPub, kexPub } } = bob;
  const evil = createIdentity();
  const room = await (await ada.rooms()).createRoom({ id: "kitchen" });
  ada.lie(({ path }, answer) =>
    path.includes("/users/") ? { ...answer, kexPub: evil.kexPub } : answer
  );
  await room.addMember(signPub);
  ada.lie(null);
  assert.equal(ada.memory.get(`kex ${signPub}`), evil.kexPub);
  await room.removeMember(signPub);
  await assert.rejects(room.addMember(signPub), named("key_changed"));
  await room.addMember(cardOf(bob.identity));
  assert.equal(ada.memory.get(`kex ${signPub}`), kexPub);
  await room.addMember(signPub);
  bob.memory.set(`kex ${signPub}`, evil.kexPub);
  assert.equal((await (await bob.rooms()).join("kitchen")).epoch, room.epoch);
});

Deno.test("a bus cannot change, repeat, move or make up messages: each try is named, what is real still comes", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const adaRooms = await ada.rooms();
  const room = await adaRooms.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  const hall = await adaRooms.createRoom({ id: "hall", members: [cardOf(bob.identity)] });
  const joined = await (await bob.rooms()).join("kitchen");
  const heard = new Heard(joined);
  const wire = await it.wire();
  const seen: Record<string, Uint8Array[]> = { kitchen: [], hall: [] };
  for (const it of [room, hall]) {
    wire.subscribe(it.subject, { callback: (_, { data }) => void seen[it.id]!.push(data) });
  }
  await wire.flush();
  await room.send("one");
  await room.send("two");
  await hall.send("in the hall");
  await heard.heard("two");
  await until(() => seen.kitchen!.length === 2 && seen.hall!.length === 1, "what was sent");

  const [one] = seen.kitchen!;
  const flipped = new Uint8Array(one!);
  flipped[flipped.length - 70]! ^= 1;
  const stranger = new MessageSealer(nodePrimitives, createIdentity(), {
    roomId: "kitchen",
    epoch: 1,
  }, new Uint8Array(32));
  // Whoever has the room key and is not in the room any more, or has not been.
  const roomKey = await keyOf(room, ada);
  const ghost = new MessageSealer(
    nodePrimitives,
    createIdentity(),
    { roomId: "kitchen", epoch: 1 },
    roomKey,
  );
  const ahead = new MessageSealer(
    nodePrimitives,
    ada.identity,
    { roomId: "kitchen", epoch: 9 },
    roomKey,
  );
  const old = new MessageSealer(
    nodePrimitives,
    ada.identity,
    { roomId: "kitchen", epoch: 1 },
    roomKey,
  );
  const tries: [Uint8Array, SealingReason][] = [
    [one!, "replayed"],
    [flipped, "tampered"],
    [one!.subarray(0, 90), "malformed"],
    [new Uint8Array(0), "malformed"],
    [new Uint8Array(randomBytes(300)).fill(7, 0, 1), "newer_version"],
    [seen.hall![0]!, "wrong_room"],
    [(await stranger.seal(one!)).bytes, "tampered"],
    [(await ghost.seal(one!)).bytes, "not_a_member"],
    [(await ahead.seal(one!)).bytes, "unknown_epoch"],
    [(await old.seal(one!, { now: Date.now() - 3_600_000 })).bytes, "stale"],
  ];
  for (const [bytes, reason] of tries) {
    const before = bob.problems.length;
    wire.publish(room.subject, bytes);
    await until(() => bob.problems.length > before, reason);
    named(reason)(bob.problems[before]!.error);
    assert.equal(bob.problems[before]!.roomId, "kitchen");
  }
  await room.send("three");
  const last = await heard.heard("three");
  assert.deepEqual([last.seq, last.missed, last.late], [2, 0, false]);
  assert.deepEqual(heard.texts, ["one", "two", "three"]);
  assert.equal(bob.problems.length, tries.length);
});

Deno.test("who was taken out is not heard any more, even under the old key while that is still taken", async () => {
  await using it = await village();
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const members = [cardOf(bob.identity), cardOf(eve.identity)];
  const room = await (await ada.rooms()).createRoom({ id: "kitchen", members });
  const joined = await (await bob.rooms()).join("kitchen");
  const heard = new Heard(joined);
  const place = { roomId: "kitchen", epoch: 1 };
  const oldKey = await keyOf(room, ada);
  const [evil, honest] = [eve, ada].map((who) =>
    new MessageSealer(nodePrimitives, who.identity, place, oldKey)
  );
  const say = async (sealer: MessageSealer, text: string) =>
    wire.publish(room.subject, (await sealer.seal(new TextEncoder().encode(text))).bytes);
  const wire = await it.wire();
  await say(evil!, "before");
  await heard.heard("before");
  await room.removeMember(eve.identity.signPub);
  await until(() => joined.epoch === 2, "the new key");
  await say(evil!, "after");
  await say(honest!, "on its way");
  await heard.heard("on its way");
  assert.deepEqual(heard.texts, ["before", "on its way"]);
  assert.equal(bob.problems.length, 1);
  named("not_a_member")(bob.problems[0]!.error);
});

Deno.test("a message that the bus held back is missed; one that it let through late is late", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const heard = new Heard(await (await bob.rooms()).join("kitchen"));
  const sealer = new MessageSealer(
    nodePrimitives,
    ada.identity,
    { roomId: "kitchen", epoch: 1 },
    await keyOf(room, ada),
  );
  const all = await Promise.all(
    ["a", "b", "c", "d", "e"].map((text) => sealer.seal(new TextEncoder().encode(text))),
  );
  const wire = await it.wire();
  for (const i of [0, 3, 1, 4]) wire.publish(room.subject, all[i]!.bytes);
  await heard.heard("e");
  assert.deepEqual(
    heard.all.map((it) => [it.text(), it.missed, it.late]),
    [["a", 0, false], ["d", 2, false], ["b", 0, true], ["e", 0, false]],
  );
});

Deno.test("answers that are odd end nothing but the question: no wildcard is published to, no list is endless", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const rooms = await bob.rooms();
  const odd: [string, Record<string, unknown>][] = [
    ["/kitchen", { subject: "room.>" }],
    ["/kitchen", { subject: "$SYS.REQ" }],
    ["/kitchen", { owner: "00".repeat(32) }],
    ["/kitchen", { epoch: "1" }],
    ["/kitchen", { id: "hall" }],
    ["/key", { sealedKey: "" }],
    ["/key", { sealedKey: 7 }],
    ["/members", { next: "f".repeat(64) }],
    ["/members", { items: 7 }],
  ];
  for (const [end, change] of odd) {
    bob.lie(({ path }, answer) => path.endsWith(end) ? { ...answer, ...change } : answer);
    await assert.rejects(rooms.join("kitchen"), (error) => {
      assert.ok(isStoreError(error), `${JSON.stringify(change)}: ${error}`);
      return true;
    });
  }
  bob.lie(null);
  const joined = await rooms.join("kitchen");
  const heard = new Heard(joined);
  // Also later, while the room is open.
  for (const [end, change] of odd.filter(([, change]) => !("next" in change))) {
    ada.lie(({ path }, answer) => path.endsWith(end) ? { ...answer, ...change } : answer);
    await room.rekey().catch(() => {});
  }
  ada.lie(null);
  await room.send("still here");
  await heard.heard("still here");
});

Deno.test("join() accepts a membership when owner and key are right, and not before", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  await (await ada.rooms()).createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  const isAccepted = async () =>
    (await it.store.getMember("kitchen", bob.identity.signPub)).accepted;
  const rooms = await bob.rooms();
  const other = createIdentity().signPub;
  const before = await bob.rooms({ memory: new Map() });
  await assert.rejects(before.join("kitchen", { owner: other }), named("wrong_sealer"));
  bob.lie(({ path }, answer) => path.endsWith("/key") ? { ...answer, sealedKey: "AAAA" } : answer);
  await assert.rejects(rooms.join("kitchen"), (error) => isSealingError(error));
  assert.equal(await isAccepted(), false);
  bob.lie(null);
  it.writes.length = 0;
  await using room = await rooms.join("kitchen", { owner: ada.identity.signPub });
  assert.deepEqual(it.writes, ["POST /v1/rooms/kitchen/join"]);
  assert.equal(await isAccepted(), true);
  assert.equal(room.epoch, 1);
});
