/** One room as the page shows it: what is told of messages, of members, and of the owner. */

import assert from "node:assert/strict";
import { StoreError, type User } from "@unibus/membership";
import {
  type ListedMember,
  type OpenRoom,
  type RoomMessage,
  SealingError,
} from "@unibus/membership/client";
import { Queue } from "../../../src/client/rooms/queue.ts";
import type { MessageHeader } from "../../../src/sealing/message.ts";
import type { Line, Said } from "../../../src/web/rooms/model/lines.ts";
import { Talk } from "../../../src/web/rooms/model/talk.ts";

const [ME, BOB, EVE] = ["aa", "bb", "ee"] as const;

/** A message; by default of Bob. */
function message(text: string, more: Partial<RoomMessage> = {}): RoomMessage {
  return {
    data: new TextEncoder().encode(text),
    text: () => text,
    sender: BOB,
    epoch: 1,
    session: "s",
    seq: 0,
    sentAt: new Date(1000),
    missed: 0,
    late: false,
    ...more,
  };
}

function member(endpoint: string, more: Partial<ListedMember> = {}): ListedMember {
  return {
    roomId: "kitchen",
    endpoint,
    signPub: endpoint,
    kexPub: `kex ${endpoint}`,
    role: endpoint === ME ? "owner" : "member",
    joinedAt: "",
    accepted: true,
    status: "active",
    ...more,
  };
}

/** A room, and a server, that say what a test has them say. */
async function open(owner: string = ME, before?: string) {
  const messages = new Queue<RoomMessage>({ items: 100, bytes: 10_000 }, () => 1);
  const ended = Promise.withResolvers<Error | null>();
  const it = {
    owner,
    members: [member(ME), member(BOB)],
    /** When the members are told that were read. */
    answer: Promise.resolve(),
    waiting: [] as User[],
    /** Whether names were asked for, by each reading of the members. */
    readings: [] as boolean[],
    refreshes: 0,
    /** The owner that the client finds when it verifies the room. */
    verified: owner,
    sends: [] as PromiseWithResolvers<unknown>[],
    end(error: Error | null) {
      messages.end(error);
      ended.resolve(error);
    },
    arrives: (one: RoomMessage) => messages.push(one),
    /** Lets what is ready happen. */
    settled: () => new Promise((resolve) => setTimeout(resolve)),
    lines: (): readonly Line[] => talk.lines.blocks.flatMap((block) => block.lines),
    /** The notes, each with whom it is about. */
    notes: () => it.lines().flatMap((one) => one.is === "note" ? [[one.about, one.text]] : []),
    said: () => it.lines().filter((one): one is Line & Said => one.is === "said"),
  };
  const room = {
    get owner() {
      return it.owner;
    },
    ended: ended.promise,
    async *messages() {
      for (let next; (next = await messages.take()) !== null;) yield next;
    },
    send: () => {
      const sending = Promise.withResolvers<unknown>();
      it.sends.push(sending);
      return sending.promise;
    },
    refresh: () => {
      it.refreshes++;
      it.owner = it.verified;
      return Promise.resolve();
    },
    handOver: (to: string) =>
      Promise.reject(new StoreError(to === BOB ? "conflict" : "unavailable", "m")),
  };
  const talk = new Talk("kitchen", ME, {
    async membersOf(_, handles) {
      it.readings.push(handles);
      const { members } = it;
      await it.answer;
      return members;
    },
    waitingFor: () => Promise.resolve(it.waiting),
  });
  const following = talk.follow(room as unknown as OpenRoom, before);
  await it.settled();
  return { it, talk, following };
}

Deno.test("what arrives is shown, with what is missing before it, and counted while no one looks", async () => {
  const { it, talk } = await open();
  it.arrives(message("soup", { missed: 1 }));
  it.arrives(message("bread", { missed: 3, late: true }));
  // From another tab of one's own.
  it.arrives(message("salt", { sender: ME }));
  it.arrives(message("", { data: Uint8Array.of(0xff) }));
  await it.settled();
  const ones = "sent a message before the one below; it has not arrived.";
  const threes = "sent 3 messages before the one below; they have not arrived.";
  assert.deepEqual(it.notes(), [[BOB, ones], [BOB, threes]]);
  assert.deepEqual(
    it.said().map(({ from, at, body, late }) => [from, at, body, late]),
    [
      [BOB, 1000, { text: "soup" }, undefined],
      [BOB, 1000, { text: "bread" }, true],
      [ME, 1000, { text: "salt" }, undefined],
      [BOB, 1000, { bytes: 1 }, undefined],
    ],
  );
  assert.equal(talk.unread, 3);
  talk.show(true);
  assert.equal(talk.unread, 0);
  it.arrives(message("pepper"));
  await it.settled();
  assert.equal(talk.unread, 0);
  talk.show(false);
  it.arrives(message("plates"));
  await it.settled();
  talk.show(false);
  assert.equal(talk.unread, 1);
});

Deno.test("one's own message is told as sent, not confirmed, or not sent and why", async () => {
  const { it, talk } = await open();
  for (const text of ["a", "b", "c"]) talk.send(text);
  const progress = () => it.said().map((one) => one.progress);
  assert.deepEqual(progress(), ["sending", "sending", "sending"]);
  it.sends[0]!.resolve({});
  it.sends[1]!.reject(new StoreError("unavailable", "m"));
  it.sends[2]!.reject(new StoreError("too_large", "m"));
  await it.settled();
  assert.deepEqual(progress(), ["sent", "unsure", "failed"]);
  assert.deepEqual(it.said().map((one) => one.why), [
    undefined,
    "The server does not respond.",
    "The message is too long. Send it in parts.",
  ]);
});

Deno.test("a rejected message is told with the sender it names; other failures for themselves; replays not at all", async () => {
  const { it, talk } = await open();
  const header = { sender: EVE } as MessageHeader;
  const problem = (reason: "tampered" | "replayed" | "overflow", more = {}) =>
    talk.problem({ roomId: "kitchen", error: new SealingError(reason, "m"), ...more });
  problem("replayed", { header });
  problem("replayed");
  problem("tampered", { header: { ...header, kind: "here" } });
  assert.deepEqual(it.notes(), []);
  problem("tampered", { header });
  problem("overflow", { header });
  problem("overflow");
  // The room's key, which no message names.
  problem("tampered");
  const told = it.lines().map((one) => one.is === "note" && [one.tone, one.about, one.count]);
  assert.deepEqual(told, [["bad", EVE, undefined], ["warn", undefined, 2], [
    "warn",
    undefined,
    undefined,
  ]]);
});

Deno.test("who came and who went is told after the first reading, and not of those who have not joined", async () => {
  const { it, talk } = await open();
  assert.deepEqual(it.notes(), []);
  it.members = [member(ME), member(BOB), member(EVE, { accepted: false })];
  await talk.readMembers();
  assert.deepEqual(it.notes(), []);
  // One who has joined in the meantime, and whom the list does not show as a member yet.
  it.arrives(message("hello", { sender: EVE }));
  await it.settled();
  it.members = [member(ME), member(EVE)];
  await talk.readMembers();
  assert.deepEqual(it.notes(), [[EVE, "has joined."], [BOB, "is no longer a member."]]);
  assert.deepEqual(talk.members, it.members);
  // Names are asked for once; a message of one who is not on the list has it read again.
  assert.deepEqual(it.readings, [true, false, false, false]);
  it.arrives(message("hello", { sender: EVE }));
  await it.settled();
  assert.equal(it.readings.length, 4);
  it.arrives(message("hello", { sender: BOB }));
  await it.settled();
  assert.equal(it.readings.length, 5);
});

Deno.test("members are read one at a time: an answer that is late takes no one out who came meanwhile", async () => {
  const { it, talk } = await open();
  const late = Promise.withResolvers<void>();
  it.answer = late.promise;
  const first = talk.readMembers();
  await it.settled();
  it.answer = Promise.resolve();
  it.members = [member(ME), member(BOB), member(EVE)];
  const others = [talk.readMembers(), talk.readMembers()];
  await it.settled();
  late.resolve();
  await Promise.all([first, ...others]);
  assert.deepEqual(it.notes(), [[EVE, "has joined."]]);
  assert.equal(it.readings.length, 3, "one for both");
});

/** Has the server name an owner in the list of members, and lets the talk read it. */
async function names({ it, talk }: Awaited<ReturnType<typeof open>>, owner: string): Promise<void> {
  it.members = [ME, BOB].map((one) => member(one, { role: one === owner ? "owner" : "member" }));
  await talk.readMembers();
  await it.settled();
}

const OWNS = "is the owner of this room now, and decides who can read it.";

Deno.test("an owner whom the server names is verified once, and not told while the client does not believe it", async () => {
  const place = await open();
  const { it, talk } = place;
  it.waiting = [{ signPub: EVE } as User];
  await names(place, ME);
  assert.deepEqual([it.refreshes, talk.isOwn, talk.waiting.length], [0, true, 1]);
  await names(place, BOB);
  await names(place, BOB);
  assert.deepEqual([it.refreshes, talk.owner, talk.waiting.length], [1, ME, 0]);
  assert.deepEqual(it.notes(), []);
});

Deno.test("an owner whom the client believes is told, each time that the room changes hands", async () => {
  const place = await open();
  const { it, talk } = place;
  it.waiting = [{ signPub: EVE } as User];
  for (const owner of [BOB, ME, BOB]) {
    it.verified = owner;
    // The way back the client has learned by itself.
    if (owner === ME) it.owner = owner;
    await names(place, owner);
    await names(place, owner);
    assert.deepEqual([talk.owner, talk.isOwn], [owner, owner === ME]);
    assert.equal(talk.waiting.length, owner === ME ? 1 : 0);
  }
  assert.equal(it.refreshes, 2);
  assert.deepEqual(it.notes(), [[BOB, OWNS], [ME, OWNS], [BOB, OWNS]]);
});

Deno.test("an owner who is another than before the page was opened is told; a first one is not", async () => {
  assert.deepEqual((await open(BOB)).it.notes(), []);
  assert.deepEqual((await open(BOB, BOB)).it.notes(), []);
  assert.deepEqual((await open(BOB, ME)).it.notes(), [[BOB, OWNS]]);
});

Deno.test("a room ends for good by a removal, and for a while by anything else", async () => {
  const ends = async (error: Error | null) => {
    const { it, talk, following } = await open();
    it.end(error);
    await following;
    return talk;
  };
  const removed = await ends(new SealingError("removed", "m"));
  assert.equal(removed.state.is, "over");
  removed.send("a");
  await new Promise((resolve) => setTimeout(resolve));
  const [line] = removed.lines.blocks[0]!.lines;
  assert.ok(line!.is === "said" && line!.progress === "failed", "not sent, and told");
  assert.match(line!.why!, /not open/);
  const cut = await ends(new StoreError("unavailable", "m"));
  assert.equal(cut.state.is, "failed");
  const closed = await ends(null);
  assert.equal(closed.state.is, "open");
});

Deno.test("a hand-over to one who is not ready says what to do; another failure says its own", async () => {
  const { talk } = await open();
  await assert.rejects(talk.handOver(BOB), /cannot become the owner yet/);
  await assert.rejects(talk.handOver(EVE), { code: "unavailable" });
});
