/** Rooms over time: keys that change, members that come and go, connections that break, floods. */

import assert from "node:assert/strict";
import type { NatsConnection, Subscription } from "@nats-io/transport-node";
import {
  cardOf,
  createIdentity,
  isSealingError,
  isStoreError,
  type RoomMessage,
  type RoomProblem,
  StoreError,
} from "../../../src/client/mod.ts";
import { Channel } from "../../../src/client/rooms/channel.ts";
import { type Keyring, removalOr } from "../../../src/client/rooms/keyring.ts";
import { Reader } from "../../../src/client/rooms/reader.ts";
import { messageOverhead, MessageSealer } from "../../../src/sealing/message.ts";
import { openRoomKey } from "../../../src/sealing/sealed_key.ts";
import { nodePrimitives, roomKeysOf } from "../../../src/sealing/primitives_node.ts";
import { Heard, keyOf, until, village } from "./village.ts";

/** A refresh interval that is longer than any test, milliseconds. */
const NEVER = 3_600_000;

Deno.test("a member that leaves is shut out by the owner's program, without being told to", async () => {
  await using it = await village();
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const members = [cardOf(bob.identity), cardOf(eve.identity)];
  const room = await (await ada.rooms({ refreshInterval: 50 })).createRoom({
    id: "kitchen",
    members,
  });
  // It learns from the announcement of the key, not by its own next check.
  const bobRoom = await (await bob.rooms({ refreshInterval: NEVER })).join("kitchen");
  const eveRoom = await (await eve.rooms()).join("kitchen");
  await assert.rejects(room.leave(), (error) => isStoreError(error, "room_owner"));
  await eveRoom.leave();
  assert.equal(await eveRoom.ended, null);
  await assert.rejects(eveRoom.members(), (error) => isSealingError(error, "removed"));
  await until(() => room.epoch === 2 && bobRoom.epoch === 2, "the new key");
  await assert.rejects(eve.client.getSealedKey("kitchen"));
  assert.deepEqual(await room.lacking(), []);
  assert.equal((await it.store.getRoom("kitchen")).epoch, 2);
});

Deno.test("rekeys at once, from two programs of the owner, and invitations between them: all come through", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const again = await it.person(ada.identity);
  const one = await (await ada.rooms()).createRoom({ id: "kitchen", members: [] });
  const two = await (await again.rooms()).join("kitchen");
  const guests = await Promise.all(Array.from({ length: 4 }, () => it.person()));
  const work = [
    one.rekey(),
    two.rekey(),
    one.addMember(cardOf(bob.identity)),
    two.rekey(),
    ...guests.map((guest, i) => (i % 2 ? one : two).addMember(cardOf(guest.identity))),
    one.rekey(),
  ];
  const done = await Promise.all(work);
  const epochs = done.filter((it) => it !== undefined);
  assert.equal(new Set(epochs).size, 4, `each its own: ${epochs}`);
  const { epoch } = await it.store.getRoom("kitchen");
  assert.equal(epoch, 5);
  await until(() => one.epoch === 5 && two.epoch === 5, "both at the newest key");
  // What one program of an identity says, another one hears.
  const heard = new Heard(two);
  await one.send("back soon");
  await heard.heard("back soon");
  for (const guest of [bob, ...guests]) {
    const room = await (await guest.rooms()).join("kitchen");
    assert.equal(room.epoch, 5);
  }
  assert.deepEqual(await one.lacking(), []);
  const { items } = await it.store.listMembers("kitchen");
  assert.equal(items.length, 6);
});

Deno.test("a rekey goes on after members came with another program's rekey", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const again = await it.person(ada.identity);
  const one = await (await ada.rooms()).createRoom({ id: "kitchen", members: [] });
  const two = await (await again.rooms()).join("kitchen");
  // Between the first program's look at its own keys and at the members.
  const { listMembers } = ada.client;
  ada.client.listMembers = async (...args) => {
    ada.client.listMembers = listMembers;
    await two.rekey();
    await two.addMember(cardOf(bob.identity));
    return await listMembers.apply(ada.client, args);
  };
  assert.equal(await one.rekey(), 3);
  assert.equal((await (await bob.rooms()).join("kitchen")).epoch, 3);
});

Deno.test("a removal that was cut off before its rekey is finished by whoever comes next", async () => {
  await using it = await village();
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const rooms = await ada.rooms();
  const members = [cardOf(bob.identity), cardOf(eve.identity)];
  const room = await rooms.createRoom({ id: "kitchen", members });
  await ada.client.removeMember("kitchen", eve.identity.signPub);
  await room.removeMember(eve.identity.signPub);
  assert.equal(room.epoch, 2);
  await assert.rejects(
    room.removeMember(eve.identity.signPub),
    (error) => isStoreError(error, "not_found"),
  );
  assert.equal(room.epoch, 2);
  await ada.client.removeMember("kitchen", bob.identity.signPub);
  await rooms.close();
  const again = await (await ada.rooms({ refreshInterval: NEVER })).join("kitchen");
  await until(() => again.epoch === 3, "the new key");
});

Deno.test("what is under a replaced key is taken for a while, then named; kept messages open as long as wanted", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const { sealedKey } = await ada.client.getSealedKey("kitchen", 1);
  const place = { roomId: "kitchen", epoch: 1 };
  const old = new MessageSealer(
    nodePrimitives,
    ada.identity,
    place,
    await openRoomKey(nodePrimitives, roomKeysOf(ada.identity), place, room.owner, sealedKey),
  );
  const message = async (text: string) => (await old.seal(new TextEncoder().encode(text))).bytes;
  // Both learn of a new key from its announcement.
  const refreshInterval = NEVER;
  const patient = await (await bob.rooms({ refreshInterval })).join("kitchen");
  const strict = await (await bob.rooms({ refreshInterval, oldEpochGrace: 0 })).join("kitchen");
  const [heard, strictly] = [new Heard(patient), new Heard(strict)];
  await room.rekey();
  await until(() => patient.epoch === 2 && strict.epoch === 2, "the new key");
  const wire = await it.wire();
  wire.publish(room.subject, await message("late"));
  assert.equal((await heard.heard("late")).epoch, 1);
  await until(() => bob.problems.length > 0, "the refusal");
  assert.ok(isSealingError(bob.problems[0]!.error, "old_epoch"));
  assert.deepEqual(strictly.texts, []);
  for (let i = 0; i < 3; i++) await room.rekey();
  await until(() => strict.epoch === 5, "the newest key");
  const kept = await strict.open(await message("kept"));
  assert.deepEqual([kept.text(), kept.missed, kept.late], ["kept", 0, false]);
  // What a member's program says by itself is not taken for a message of that member.
  for (const kind of ["rekeyed", "here"] as const) {
    const { bytes } = await old.seal(Uint8Array.of(1), { kind });
    await assert.rejects(strict.open(bytes), (error) => isSealingError(error, "malformed"));
  }
  // Who came later has no key of before.
  const eve = await it.person();
  await room.addMember(cardOf(eve.identity));
  const late = await (await eve.rooms()).join("kitchen");
  await assert.rejects(
    late.open(await message("kept")),
    (error) => isSealingError(error, "unknown_epoch"),
  );
});

Deno.test("a thousand messages at once come in their order, none twice, none missed", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const bobRoom = await (await bob.rooms()).join("kitchen");
  const [heard, back] = [new Heard(bobRoom), new Heard(room)];
  const texts = Array.from({ length: 1000 }, (_, i) => `message ${i}`);
  const sent = await Promise.all(texts.map((text) => room.send(text)));
  assert.deepEqual(sent.map((it) => it.seq), texts.map((_, i) => i));
  await heard.heard("message 999");
  assert.deepEqual(heard.texts, texts);
  assert.ok(heard.all.every(({ missed, late }) => missed === 0 && !late));
  await bobRoom.send("all of it");
  await back.heard("all of it");
  assert.deepEqual(back.texts, ["all of it"], "not what it said itself");
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

Deno.test("refresh() sees what changed before it was called, also when a check is under way; not after the end", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  let asked = 0;
  const held = Promise.withResolvers<void>();
  const { getRoom } = bob.client;
  bob.client.getRoom = async (id) => {
    const found = await getRoom(id);
    // The first check has read the room before the change, and learns it after.
    if (++asked === 2) await held.promise;
    return found;
  };
  const bobRoom = await (await bob.rooms()).join("kitchen", { owner: ada.identity.signPub });
  const early = bobRoom.refresh();
  await until(() => asked === 2, "the first check");
  const read = ada.client.getRoom;
  let adasChecks = 0;
  ada.client.getRoom = async (id) => {
    const found = await read(id);
    if (++adasChecks === 1) await held.promise;
    return found;
  };
  const adasEarly = room.refresh();
  await until(() => adasChecks === 1, "the first check of the owner");
  await room.handOver(bob.identity.signPub);
  const late = bobRoom.refresh();
  held.resolve();
  await early;
  await late;
  assert.equal(bobRoom.owner, bob.identity.signPub);
  // What was read before the change, and comes after it, does not make the former owner a new one.
  await adasEarly;
  assert.deepEqual([room.owner, ada.problems], [bob.identity.signPub, []]);
  // What passes by itself is not reported, anything else is.
  assert.equal(bob.problems.length, 0);
  for (const code of ["unavailable", "rate_limited", "unsupported"] as const) {
    bob.client.getRoom = () => Promise.reject(new StoreError(code, code));
    await bobRoom.refresh();
  }
  assert.deepEqual(bob.problems.map((it) => it.error.message), ["unsupported"]);
  await bobRoom.close();
  let after = 0;
  bob.client.getRoom = (id) => {
    after++;
    return getRoom(id);
  };
  await bobRoom.refresh();
  assert.equal(after, 0, "asked after the end");
});

Deno.test("a list of members that was read before another one, and comes after it, is not taken", () => {
  const reader = new Reader({
    primitives: nodePrimitives,
    keyring: {} as Keyring,
    members: () => assert.fail("asked"),
    oldEpochGrace: 0,
    maxAge: 0,
    signal: AbortSignal.abort(),
  });
  const newer = new Set(["a"]);
  reader.setMembers(newer, 2);
  reader.setMembers(new Set(["a", "removed"]), 1);
  assert.equal(reader.members, newer);
});

Deno.test("a room that is closed while it is checked reports nothing and is not checked again", async () => {
  await using it = await village();
  const ada = await it.person();
  const room = await (await ada.rooms({ refreshInterval: 1 })).createRoom({ id: "kitchen" });
  const asked = Promise.withResolvers<void>();
  const held = Promise.withResolvers<never>();
  let checks = 0;
  ada.client.getRoom = () => {
    checks++;
    asked.resolve();
    return held.promise;
  };
  await asked.promise;
  const closing = room.close();
  held.reject(new StoreError("unsupported", "too late"));
  await closing;
  // Much longer than the interval.
  await (await it.wire()).flush();
  assert.deepEqual([checks, ada.problems], [1, []]);
});

Deno.test("an answer of a proxy ends no room; that of the control plane does, and stays the reason", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  await (await ada.rooms()).createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  const connection = await it.wire();
  const subscriptions: Subscription[] = [];
  const subscribe = connection.subscribe.bind(connection);
  connection.subscribe = (...args) => {
    const made = subscribe(...args);
    subscriptions.push(made);
    return made;
  };
  const options = { refreshInterval: NEVER, nats: { connection } };
  const room = await (await bob.rooms(options)).join("kitchen");
  for (const status of [404, 403]) {
    bob.lie(() => new Response("<h1>No such page</h1>", { status }));
    await room.refresh();
  }
  assert.deepEqual(bob.problems.map(({ error }) => isStoreError(error) && error.code), [
    "not_found",
    "forbidden",
  ]);
  bob.lie(null);
  await it.store.removeMember("kitchen", bob.identity.signPub);
  await room.refresh();
  const why = await room.ended;
  assert.ok(isSealingError(why, "removed"), String(why));
  assert.deepEqual(subscriptions.map((it) => it.isClosed()), [true]);
  await room.close();
  await assert.rejects(room.messages().next(), why);
});

Deno.test("an end says whether the user lost access, or is no longer a member", () => {
  for (const [code, why] of [["forbidden", /not active$/], ["not_found", /removed, or/]] as const) {
    const error = removalOr(new StoreError(code, "m"), "kitchen");
    assert.ok(isSealingError(error, "removed"));
    assert.match(error.message, why);
  }
});

Deno.test("a message of one's own that comes again is neither heard nor reported", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const bobRoom = await (await bob.rooms()).join("kitchen");
  const heard = new Heard(room);
  const wire = await it.wire();
  const published: Uint8Array[] = [];
  wire.subscribe(room.subject, { callback: (_, { data }) => void published.push(data) });
  await wire.flush();
  await room.send("soup");
  await until(() => published.length === 1, "the message");
  for (let i = 0; i < 2; i++) wire.publish(room.subject, published[0]!);
  await wire.flush();
  await bobRoom.send("thanks");
  await heard.heard("thanks");
  assert.deepEqual(heard.texts, ["thanks"]);
  assert.deepEqual(ada.problems, []);
  await until(() => bob.problems.length === 2, "the rejections of another member");
  assert.ok(bob.problems.every(({ error }) => isSealingError(error, "replayed")));
});

Deno.test("a message of the largest size goes through, and one byte more is refused", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const connection = await it.wire();
  const room = await (await ada.rooms({ nats: { connection } })).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const heard = new Heard(await (await bob.rooms()).join("kitchen"));
  const most = connection.info!.max_payload - messageOverhead(room.id);
  await assert.rejects(room.send(new Uint8Array(most + 1)), { code: "too_large" });
  await room.send(new Uint8Array(most));
  await until(() => heard.all.length === 1, "the message");
  assert.equal(heard.all[0]!.data.length, most);
});

Deno.test("who reads too slowly loses the oldest, and is told", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const onProblem = (problem: RoomProblem) => {
    bob.problems.push(problem);
    throw new Error("a careless program");
  };
  const bobRoom = await (await bob.rooms({ queueMessages: 10, onProblem })).join("kitchen");
  const messages = bobRoom.messages();
  for (let i = 0; i < 50; i++) await room.send(`${i}`);
  await until(() => bob.problems.length >= 40, "the losses");
  assert.ok(bob.problems.every(({ error }) => isSealingError(error, "overflow")));
  const got: RoomMessage[] = [];
  for (let i = 0; i < 10; i++) got.push((await messages.next()).value);
  assert.deepEqual(got.map((it) => it.text()), [
    "40",
    "41",
    "42",
    "43",
    "44",
    "45",
    "46",
    "47",
    "48",
    "49",
  ]);
  await messages.return!();
  assert.equal((await messages.next()).done, true);
  await bobRoom.close();

  // Few that are large.
  const small = await (await bob.rooms({ queueBytes: 2000 })).join("kitchen");
  const few = small.messages();
  for (let i = 0; i < 50; i++) await room.send(new Uint8Array(100));
  assert.equal((await few.next()).done, false);
  await small.close();
  const left = await Array.fromAsync(few);
  assert.ok(left.length < 20, `${left.length} messages of 100 bytes`);
});

Deno.test("what arrives while a check takes long is limited too, and its loss is told", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  await (await bob.rooms({ queueMessages: 10 })).join("kitchen");
  const asked = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const { listMembers } = bob.client;
  bob.client.listMembers = async (...args) => {
    asked.resolve();
    await held.promise;
    return await listMembers(...args);
  };
  const place = { roomId: "kitchen", epoch: 1 };
  const stranger = createIdentity();
  const sealer = new MessageSealer(nodePrimitives, stranger, place, await keyOf(room, ada));
  (await it.wire()).publish(room.subject, (await sealer.seal(new Uint8Array())).bytes);
  await asked.promise;
  for (let i = 0; i < 50; i++) await room.send(`${i}`);
  const losses = until(() => bob.problems.length >= 40, "the losses");
  await losses.finally(held.resolve);
  assert.ok(isSealingError(bob.problems[0]!.error, "overflow"));
});

Deno.test("closing ends what waits, and nothing works after it", async () => {
  await using it = await village();
  const ada = await it.person();
  const controller = new AbortController();
  const rooms = await ada.rooms({ signal: controller.signal });
  const room = await rooms.createRoom({ id: "kitchen" });
  const [heard, stopped] = [new Heard(room), new AbortController()];
  const messages = room.messages({ signal: stopped.signal });
  const waiting = messages.next();
  stopped.abort();
  assert.equal((await waiting).done, true);
  const aborted = new AbortController();
  aborted.abort();
  await assert.rejects(room.send("x", { signal: aborted.signal }), { code: "aborted" });
  for (const iterator of [room.messages(aborted), room.here(aborted)]) {
    assert.equal((await iterator.next()).done, true);
  }
  await assert.rejects(room.send(new Uint8Array(2 ** 21)), { code: "too_large" });
  controller.abort();
  assert.equal(await room.ended, null);
  await heard.done;
  assert.equal(heard.ended, null);
  await assert.rejects(room.send("x"), { code: "closed" });
  await assert.rejects(rooms.join("kitchen"), { code: "closed" });
  await rooms.close();
  for (const iterator of [room.messages(), room.here()]) {
    assert.equal((await iterator.next()).done, true);
  }
});

Deno.test("a room that is not there, is cleartext, or is not one's own to change is refused", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const rooms = await ada.rooms();
  await assert.rejects(rooms.join("nowhere"), (error) => isStoreError(error, "not_found"));
  await ada.client.createRoom({ id: "open", encrypted: false });
  await assert.rejects(rooms.join("open"), { code: "invalid" });
  await rooms.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  await assert.rejects(rooms.createRoom({ id: "kitchen" }), { code: "room_exists" });
  const room = await (await bob.rooms()).join("kitchen");
  for (
    const change of [
      () => room.rekey(),
      () => room.addMember(cardOf(createIdentity())),
      () => room.removeMember(ada.identity.signPub),
    ]
  ) await assert.rejects(change(), (error) => isStoreError(error, "forbidden"));
  // Not even oneself: that is leaving.
  const oneself = room.removeMember(bob.identity.signPub);
  await assert.rejects(oneself, (error) => isStoreError(error, "forbidden"));
  assert.equal((await room.members()).length, 2);
  await assert.rejects(
    (await ada.rooms()).createRoom({ id: "x", members: ["00"] }),
    { code: "invalid" },
  );
});

Deno.test("a connection of the caller's is used and left open; when it ends, the rooms end", async () => {
  await using it = await village();
  const ada = await it.person();
  const connection = await it.wire();
  const first = await ada.rooms({ nats: { connection } });
  await first.createRoom({ id: "kitchen" });
  await first.close();
  assert.ok(!connection.isClosed());
  // One whose subscription the bus does not accept, and that ends meanwhile.
  const silent = await it.wire();
  silent.flush = () => new Promise(() => {});
  const impatient = await ada.rooms({ nats: { connection: silent }, sendTimeout: 50 });
  await assert.rejects(impatient.join("kitchen"), /did not accept the subscription within 50 ms/);
  const joining = (await ada.rooms({ nats: { connection: silent } })).join("kitchen");
  const failing = assert.rejects(joining, /The connection to the bus was closed/);
  await silent.close();
  await failing;
  const rooms = await ada.rooms({ nats: { connection }, sendTimeout: 120_000 });
  const room = await rooms.join("kitchen");
  const heard = new Heard(room);
  const sending = room.send("one");
  await sending;
  // It takes no more subscriptions, and is closed soon.
  const draining = connection.drain();
  const here = room.here();
  await draining;
  const why = await room.ended;
  assert.ok(isStoreError(why, "unavailable"), String(why));
  await heard.done;
  assert.equal(heard.ended, why);
  await assert.rejects(here.next(), why);
  await assert.rejects(room.send("two"), why!);
  // At once, not when the subscription is late.
  await assert.rejects(rooms.join("kitchen"), /The connection to the bus was closed/);
  await assert.rejects(rooms.createRoom({ id: "hall" }), /The connection to the bus was closed/);
});

Deno.test("a bus that refuses a subscription again and again is asked more and more rarely", async () => {
  const times: number[] = [];
  const refused = {
    closed: Promise.resolve(new Error("refused")),
    isClosed: () => true,
    unsubscribe: () => {},
  };
  const connection = {
    isClosed: () => false,
    flush: () => new Promise(() => {}),
    subscribe() {
      times.push(performance.now());
      return refused;
    },
  } as unknown as NatsConnection;
  let refusals = 0;
  const channel = new Channel(connection, "s", {
    onData: () => {},
    onReady: () => assert.fail("accepted"),
    onRefused: () => void refusals++,
  });
  await until(() => times.length === 4, "the fourth attempt");
  await channel.close();
  const waits = times.slice(1).map((it, i) => it - times[i]!);
  assert.ok(waits[1]! >= 490 && waits[2]! >= 990, String(waits));
  assert.ok(refusals >= 3);
});

Deno.test("what was lost with the connection is sent again when that is back", async () => {
  await using it = await village();
  const ada = await it.person();
  const connection = await it.wire();
  const room = await (await ada.rooms({ nats: { connection } })).createRoom({ id: "kitchen" });
  const publish = connection.publish.bind(connection);
  let published = 0;
  connection.publish = (...args) => void (++published > 1 && publish(...args));
  const events = connection.status()[Symbol.asyncIterator]();
  const sending = room.send("soup");
  await until(() => published === 1, "the first attempt");
  await connection.reconnect();
  while ((await events.next()).value!.type !== "reconnect");
  await connection.flush();
  // Without that, the next attempt would be after three seconds.
  assert.ok(published > 1);
  await sending;
});

Deno.test("a room of a thousand members is made, rekeyed and joined", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  const members = Array.from({ length: 999 }, () => createIdentity())
    .map(({ signPub, kexPub }) => ({ endpoint: signPub, kexPub }));
  const room = await (await ada.rooms()).createRoom({
    id: "town",
    members: [...members, cardOf(bob.identity)],
  });
  const joined = await (await bob.rooms()).join("town");
  const heard = new Heard(joined);
  await room.removeMember(members[0]!.endpoint);
  await room.send("hear, hear");
  assert.equal((await heard.heard("hear, hear")).epoch, 2);
  assert.deepEqual(await room.lacking(), []);
});
