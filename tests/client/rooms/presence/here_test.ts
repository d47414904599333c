/** Who is here in a room: members who say so, while they say so, and no one else. */

import assert from "node:assert/strict";
import {
  cardOf,
  createIdentity,
  isSealingError,
  type OpenRoom,
  type RoomPresence,
} from "../../../../src/client/mod.ts";
import { MessageSealer, readHeader } from "../../../../src/sealing/message.ts";
import { nodePrimitives } from "../../../../src/sealing/primitives_node.ts";
import {
  Heard,
  keyOf,
  type Person,
  type TestOptions,
  until,
  type Village,
  village,
} from "../village.ts";

/**
 * Shorter than the time after which a member says again that it is here (22.5 s) or is no longer here
 * (75 s): what comes within it was said for its own sake.
 */
const SOON = 20_000;
const [HELLO, HERE, LEAVING] = [0, 1, 2].map((it) => Uint8Array.of(it));

/** What a room says about who is here, as it comes. */
class Presence {
  last: RoomPresence = { here: new Set(), isTooLarge: false };
  /** With what it ended. */
  ended: unknown = undefined;
  readonly #changes: AsyncIterableIterator<RoomPresence>;

  constructor(room: OpenRoom, options?: { signal: AbortSignal }) {
    this.#changes = room.here(options);
    void this.#follow();
  }

  async #follow(): Promise<void> {
    try {
      for await (const it of this.#changes) this.last = it;
      this.ended = null;
    } catch (error) {
      this.ended = error;
    }
  }

  has({ identity }: Pick<Person, "identity">): boolean {
    return this.last.here.has(identity.signPub);
  }

  /** Waits until exactly these are here. */
  async are(...people: Pick<Person, "identity">[]): Promise<void> {
    await until(
      () => this.last.here.size === people.length && people.every((it) => this.has(it)),
      `${people.length} here`,
      SOON,
    );
  }

  async stop(): Promise<void> {
    await this.#changes.return!();
  }
}

/** A room of three, of which two are opened. */
async function kitchen(it: Village, options: TestOptions = {}) {
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const members = [cardOf(bob.identity), cardOf(eve.identity)];
  const adas = await (await ada.rooms(options)).createRoom({ id: "kitchen", members });
  const bobs = await (await bob.rooms(options)).join("kitchen");
  return { ada, bob, eve, adas, bobs };
}

Deno.test("members who say that they are here see each other come and go; others say nothing", async () => {
  await using it = await village();
  const { ada, bob, eve, adas } = await kitchen(it);
  const bobsConnection = await it.wire();
  const bobs = await (await bob.rooms({ nats: { connection: bobsConnection } })).join("kitchen");
  const eves = await (await eve.rooms()).join("kitchen");
  const messages = new Heard(eves);
  const senders: string[] = [];
  const wire = await it.wire();
  wire.subscribe(`${adas.subject}.>`, {
    callback: (_, { data }) => void senders.push(readHeader(data).sender),
  });
  await wire.flush();
  const seenByAda = new Presence(adas);
  await seenByAda.are(ada);
  const seenByBob = new Presence(bobs);
  await Promise.all([seenByAda.are(ada, bob), seenByBob.are(ada, bob)]);

  // What was said while it had no connection is lost, so it asks again.
  const saidByBob = () => senders.filter((it) => it === bob.identity.signPub).length;
  const first = saidByBob();
  await bobsConnection.reconnect();
  await until(() => saidByBob() > first, "the next notice", SOON);

  // A second program of the same person.
  const again = await (await bob.rooms()).join("kitchen");
  const stopping = new AbortController();
  const alsoSeenByBob = new Presence(again, { signal: stopping.signal });
  await alsoSeenByBob.are(ada, bob);
  const before = saidByBob();
  stopping.abort();
  await until(() => alsoSeenByBob.ended === null && saidByBob() > before, "leaving");
  await adas.send("still here?");
  await messages.heard("still here?");
  assert.ok(seenByAda.has(bob), "one of two programs has left");

  await bobs.close();
  await seenByAda.are(ada);
  await seenByAda.stop();
  await until(() => seenByAda.ended === null && seenByBob.ended === null, "the ends");
  assert.deepEqual(messages.texts, ["still here?"]);
  assert.ok(!senders.includes(eve.identity.signPub), "who does not call here() says nothing");
  for (const { problems } of [ada, bob, eve]) assert.deepEqual(problems, []);
});

Deno.test("a member whose program is killed is not here any more after a while; one who stays is", async () => {
  await using it = await village();
  const { ada, bob, adas } = await kitchen(it, { hereInterval: 2000 });
  const wire = await it.wire();
  const bobs = await (await bob.rooms({ hereInterval: 2000, nats: { connection: wire } })).join(
    "kitchen",
  );
  const [seenByAda, seenByBob] = [new Presence(adas), new Presence(bobs)];
  await seenByAda.are(ada, bob);
  await wire.close();
  await until(() => seenByBob.ended !== undefined, "the end");
  assert.match(String(seenByBob.ended), /connection to the bus was closed/);
  await seenByAda.are(ada);
});

Deno.test("a member who was removed is not here once there is a new key; the others are", async () => {
  await using it = await village();
  const { ada, bob, eve, adas, bobs } = await kitchen(it);
  const eves = await (await eve.rooms()).join("kitchen");
  // One after the other, so that no answer is due when the key changes.
  const seenByAda = new Presence(adas);
  await seenByAda.are(ada);
  const seenByBob = new Presence(bobs);
  await seenByBob.are(ada, bob);
  const seenByEve = new Presence(eves);
  await Promise.all([seenByAda, seenByBob, seenByEve].map((one) => one.are(ada, bob, eve)));
  const oldKey = await keyOf(adas, ada);
  const wire = await it.wire();
  const saidWithNewKey = new Set<string>();
  wire.subscribe(`${adas.subject}.here`, {
    callback: (_, { data }) => {
      const { epoch, sender } = readHeader(data);
      if (epoch === 2) saidWithNewKey.add(sender);
    },
  });
  await wire.flush();
  // To Bob the control plane goes on to list her.
  let listed: unknown;
  bob.lie(({ path }, answer) => path.endsWith("/members") ? listed ??= answer : answer);
  await bobs.members();
  await adas.removeMember(eve.identity.signPub);
  await until(() => seenByEve.ended !== undefined, "the end");
  assert.ok(isSealingError(seenByEve.ended, "removed"), String(seenByEve.ended));
  await until(() => saidWithNewKey.size === 2, "the others with the new key", 12_000);
  await Promise.all([seenByAda.are(ada, bob), seenByBob.are(ada, bob)]);

  // With the help of the bus, under the key that she has.
  const place = { roomId: "kitchen", epoch: 1 };
  const hers = new MessageSealer(nodePrimitives, eve.identity, place, oldKey);
  const bobsNew = { roomId: "kitchen", epoch: 2 };
  const his = new MessageSealer(nodePrimitives, bob.identity, bobsNew, await keyOf(bobs, bob));
  const publish = (bytes: Uint8Array) => wire.publish(`${adas.subject}.here`, bytes);
  publish((await hers.seal(HERE!, { kind: "here" })).bytes);
  const { bytes } = await his.seal(HERE!, { kind: "here" });
  for (let i = 0; i < 2; i++) publish(bytes);
  await until(() => bob.problems.length > 0, "the replay, which came after hers");
  assert.ok(!seenByBob.has(eve));
});

Deno.test("a bus cannot make a member be here by what it changes, repeats, moves or makes up", async () => {
  await using it = await village();
  const { ada, bob, adas } = await kitchen(it);
  const messages = new Heard(adas);
  const seen = new Presence(adas);
  await seen.are(ada);
  const wire = await it.wire();
  const place = { roomId: "kitchen", epoch: 1 };
  const key = await keyOf(adas, ada);
  const sealer = (identity = bob.identity, roomKey = key) =>
    new MessageSealer(nodePrimitives, identity, place, roomKey);
  const publish = (bytes: Uint8Array) => wire.publish(`${adas.subject}.here`, bytes);
  const his = sealer();
  const here = { kind: "here" } as const;
  const first = (await his.seal(HELLO!, here)).bytes;
  const held = (await his.seal(HERE!, here)).bytes;
  publish(first);
  await seen.are(ada, bob);
  publish((await his.seal(LEAVING!, here)).bytes);
  await seen.are(ada);

  const flipped = new Uint8Array((await sealer().seal(HERE!, here)).bytes);
  flipped[61]! ^= 1;
  const old = { ...here, now: Date.now() - 76_000 };
  const tries: [Uint8Array, string | null][] = [
    [held, null],
    [first, "replayed"],
    [flipped, "tampered"],
    [(await sealer().seal(HERE!, old)).bytes, "stale"],
    [(await sealer().seal(HERE!)).bytes, null],
    [(await sealer().seal(Uint8Array.of(7), here)).bytes, null],
    [(await sealer().seal(new Uint8Array(), here)).bytes, null],
    [Uint8Array.of(1, 2, 3), null],
    [(await sealer(createIdentity()).seal(HERE!, here)).bytes, "not_a_member"],
    [(await sealer(bob.identity, new Uint8Array(32)).seal(HERE!, here)).bytes, "tampered"],
  ];
  for (const [bytes] of tries) publish(bytes);
  await until(() => ada.problems.length >= 5, "what was rejected");
  assert.deepEqual(
    ada.problems.map(({ error }) => isSealingError(error) ? error.reason : error),
    tries.flatMap(([, reason]) => reason ?? []),
  );
  await seen.are(ada);

  // Nor as a message, on the subject of the messages.
  wire.publish(adas.subject, (await sealer().seal(HERE!, here)).bytes);
  wire.publish(adas.subject, (await sealer().seal(new TextEncoder().encode("bread"))).bytes);
  await messages.heard("bread");
  assert.deepEqual(messages.texts, ["bread"]);

  // It counts from when it was said, not from when it arrived.
  publish((await sealer().seal(HERE!, { ...here, now: Date.now() - 65_000 })).bytes);
  await seen.are(ada, bob);
  await seen.are(ada);
});

Deno.test("in a room of more than 100 members no one says anything, until it is smaller", async () => {
  await using it = await village();
  const ada = await it.person();
  const others = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const identity = createIdentity();
    const { signPub, kexPub } = identity;
    await it.store.addUser({ signPub, kexPub, handle: `guest ${i}` });
    return identity;
  }));
  const room = await (await ada.rooms({ hereInterval: 500, refreshInterval: 50 })).createRoom({
    id: "hall",
    members: others.map(cardOf),
  });
  let said = 0;
  const wire = await it.wire();
  wire.subscribe(`${room.subject}.here`, { callback: () => void said++ });
  await wire.flush();
  const seen = new Presence(room);
  await until(() => seen.last.isTooLarge, "too large");
  // What it had said before this message would have come.
  await room.send("hello");
  await wire.flush();
  assert.deepEqual([said, seen.last.here.size], [0, 0]);
  await room.removeMember(others[0]!.signPub);
  await seen.are(ada);
  assert.equal(seen.last.isTooLarge, false);
});
