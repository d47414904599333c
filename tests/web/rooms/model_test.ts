/** What the page of rooms is drawn from: lines, memory, addresses and words. */

import assert from "node:assert/strict";
import { StoreError, type StoreErrorCode, type User } from "@unibus/membership";
import type { OpenRoom } from "@unibus/membership/client";
import { SealingError } from "@unibus/membership/client";
import { replaces } from "../../../src/web/rooms/memory.ts";
import { knownPeople } from "../../../src/web/rooms/model/known.ts";
import { Lines, type Said } from "../../../src/web/rooms/model/lines.ts";
import { Talk } from "../../../src/web/rooms/model/talk.ts";
import { rejection, said } from "../../../src/web/rooms/model/words.ts";
import { cardIn } from "../../../src/web/rooms/place.ts";
import { Names } from "../../../src/web/shared/names.ts";

const message = (text: string): Said => ({ is: "said", from: "aa", at: 0, body: { text } });
const texts = (lines: Lines) =>
  lines.blocks.flatMap((it) => it.lines).map((it) =>
    it.is === "said" && "text" in it.body ? it.body.text : ""
  );

Deno.test("a new line changes the last block only, and a changed one its own", () => {
  const lines = new Lines();
  for (let i = 0; i < 120; i++) lines.add(message(`m${i}`));
  const before = lines.blocks;
  assert.deepEqual(before.map((it) => it.lines.length), [50, 50, 20]);
  assert.equal(before[1]!.before, before[0]!.lines.at(-1));
  lines.add(message("more"));
  assert.deepEqual(lines.blocks.map((it, i) => it === before[i]), [true, true, false]);
  lines.update(7, { progress: "sent" });
  assert.deepEqual(lines.blocks.map((it, i) => it === before[i]), [false, true, false]);
  const [changed] = lines.blocks[0]!.lines.filter((it) => it.is === "said" && it.progress);
  assert.equal(changed!.id, 7);
});

Deno.test("the oldest lines go first, and that is told", () => {
  const lines = new Lines();
  for (let i = 0; i < 5_050; i++) lines.add(message(`m${i}`));
  assert.deepEqual([lines.count, lines.isCut, texts(lines)[0]], [5_000, true, "m50"]);
  // A message that is no longer there changes nothing.
  const { blocks } = lines;
  lines.update(3, { progress: "sent" });
  assert.equal(lines.blocks, blocks);
});

Deno.test("a room that is opened twice at once shows each message once", async () => {
  const message = { sender: "bb", sentAt: new Date(), data: Buffer.from("hello"), missed: 0 };
  const room = {
    owner: "aa",
    ended: Promise.resolve(null),
    messages: () => ReadableStream.from([message]),
  } as unknown as OpenRoom;
  const talk = new Talk("kitchen", "aa", {
    membersOf: () => Promise.resolve([]),
    waitingFor: () => Promise.resolve([]),
  });
  await Promise.all([talk.follow(room), talk.follow(room)]);
  assert.deepEqual(texts(talk.lines), ["hello"]);
});

Deno.test("rejections of one kind that follow each other are one line with their number", () => {
  const lines = new Lines();
  const note = { is: "note", about: "aa", kind: "tampered", text: "was rejected" } as const;
  for (let i = 0; i < 500; i++) lines.add(note);
  lines.add({ ...note, about: "bb" });
  lines.add(message("m"));
  lines.add(note);
  const all = lines.blocks.flatMap((it) => it.lines);
  assert.deepEqual(all.map((it) => it.is === "note" ? it.count ?? 1 : 0), [500, 1, 0, 1]);
  const others = new Lines();
  others.add(note);
  others.add({ ...note, kind: "stale" });
  // What happened twice is no kind of its own.
  for (const text of ["has joined", "is no longer a member"]) {
    others.add({ is: "note", about: "aa", text });
  }
  assert.equal(others.count, 4);
});

Deno.test("of two tabs that remember at once, the higher epoch and the first key stay", () => {
  assert.equal(replaces("epoch kitchen", undefined, "1"), true);
  assert.equal(replaces("epoch kitchen", "9", "10"), true);
  assert.equal(replaces("epoch kitchen", "10", "9"), false);
  assert.equal(replaces("epoch kitchen", "10", "0"), true, "starting over");
  assert.equal(replaces("kex aa", undefined, "k1"), true);
  assert.equal(replaces("kex aa", "k1", "k2"), false);
  // An owner changes, once the person has accepted it.
  assert.equal(replaces("owner kitchen", "aa", "bb"), true);
});

Deno.test("a card is found in a text, in a link, and nowhere else", () => {
  const card = "unibus1.AbC-_9";
  for (
    const text of [card, ` ${card}\n`, `https://a.example/rooms#card=${card}`, `card: ${card} `]
  ) {
    assert.equal(cardIn(text), card, text);
  }
  for (const text of ["", "unibus2.AbC", `x${card}`, `${card}!`]) assert.equal(cardIn(text), null);
});

Deno.test("failures are told in sentences, and a replay of what was shown is not", () => {
  const sealing = (reason: ConstructorParameters<typeof SealingError>[0]) =>
    new SealingError(reason, "m");
  assert.match(rejection(sealing("tampered"))!.text, /changed on the way/);
  assert.equal(rejection(sealing("replayed")), null);
  assert.equal(rejection(new StoreError("unavailable", "m")), null);
  assert.match(said(sealing("removed")), /no longer a member/);
  assert.equal(said(new StoreError("unavailable", "m")), "The server does not respond.");
  assert.equal(
    said(new StoreError("room_owner", "m")),
    "The owner cannot leave the room: hand it over or delete it.",
  );
  assert.equal(
    said(new StoreError("unsupported", "It lacks this", { hint: "do that" })),
    "It lacks this: do that.",
  );
  assert.equal(said(new StoreError("invalid", "A must be b")), "A must be b.");
  const answered = (code: StoreErrorCode, more: object = {}) =>
    said(new StoreError(code, "m", { cause: { status: 400, code, ...more } }));
  assert.match(answered("rate_limited", { retryAfter: 1 }), /^Too many requests/);
  assert.match(answered("rate_limited"), /has too many open invitations/);
  assert.match(answered("unauthenticated", { reason: "authority" }), /--authority/);
  assert.match(answered("unauthenticated", { reason: "nonce" }), /did not accept your signature/);
  assert.match(said(new StoreError("rate_limited", "m", { cause: { status: 429 } })), /a proxy/);
  const late = new StoreError("forbidden", "m", { cause: { status: 401, reason: "created" } });
  assert.match(said(late), /^The clock of this device is wrong/);
  const changed = new StoreError("conflict", "It was changed", { hint: "read it again" });
  assert.match(said(changed), /^Someone else changed the room/);
});

Deno.test("a name is looked up once, and who sees it is told when another user has it too", async () => {
  const asked: string[] = [];
  const handles: Record<string, string> = { b1: "Bob", m1: "ＢＯＢ " };
  const names = new Names({
    getUser(signPub) {
      asked.push(signPub);
      if (signPub === "x1") return Promise.reject(new StoreError("unavailable", "m"));
      return Promise.resolve({ signPub, handle: handles[signPub]! } as User);
    },
  });
  const settled = () => new Promise((resolve) => setTimeout(resolve));
  const told: string[] = [];
  const stops = ["b1", "b1", "x1"].map((it) => names.ask(it, () => told.push(it)));
  await settled();
  assert.deepEqual([asked, told], [["b1", "x1"], ["b1", "b1"]]);
  assert.deepEqual([names.get("b1"), names.isShared("b1")], ["Bob", false]);
  names.learn([{ signPub: "b1", handle: "Bob" }]);
  assert.equal(told.length, 2, "nothing new");
  // One that failed is asked for again, and one that no one looks at any more is not.
  stops[2]!();
  names.ask("x1", () => {});
  await settled();
  assert.deepEqual(asked, ["b1", "x1", "x1"]);

  stops[0]!();
  names.ask("m1", () => told.push("m1"));
  await settled();
  assert.deepEqual([names.isShared("b1"), names.isShared("m1")], [true, true]);
  assert.deepEqual([...new Set(told.slice(2))].sort(), ["b1", "m1"]);
  names.forget("m1");
  assert.deepEqual([names.isShared("b1"), names.isShared("m1")], [false, false]);
});

Deno.test("names that look alike are told apart by their keys, and others are not", () => {
  const alike = [
    ["Bob", "bo b"],
    ["Ada", "Ada\ufe0e"],
    ["Ада", "АДА"],
    ["Eve", "Е\u0475\u0435"],
    ["Nick", "\u039d\u0456ck"],
    ["Oscar", "\u041eѕса\u0433"],
    ["Ilya", "llya"],
    ["Bernard", "Bemard"],
    ["Joe 10", "Joe lO"],
    ["Eve", "\u{1d404}ve"],
  ];
  const different = [["Bob", "Rob"], ["Ада", "Ида"], ["Νίκος", "Nikos"], ["Zoë", "Zoe"]];
  for (const [isShared, pairs] of [[true, alike], [false, different]] as const) {
    for (const [a, b] of pairs) {
      const names = new Names({ getUser: () => Promise.reject(new Error("not asked")) });
      names.learn([{ signPub: "a1", handle: a! }, { signPub: "b1", handle: b! }]);
      const found = [names.isShared("a1"), names.isShared("b1")];
      assert.deepEqual(found, [isShared, isShared], `${a} and ${b}`);
      names.forget("b1");
      assert.equal(names.isShared("a1"), false);
    }
  }
});

Deno.test("people are found by name or key in other rooms, with the keys they have there", () => {
  const one = (
    endpoint: string,
    handle: string | null,
    status: "active" | "revoked" = "active",
  ) => ({
    roomId: "r",
    signPub: endpoint,
    endpoint,
    kexPub: `kex ${endpoint}`,
    role: "member" as const,
    accepted: true,
    joinedAt: "",
    status,
    handle,
  });
  const here = { members: [one("a1", "Ada")] };
  const hall = { members: [one("a1", "Ada"), one("b1", "Bob"), one("c1", "Bo", "revoked")] };
  const many = {
    members: [
      one("b1", "Bob"),
      one("d1", null),
      ...Array.from({ length: 30 }, (_, i) => one(`e${i}`, "Eve")),
    ],
  };
  const nameOf = (endpoint: string) => endpoint === "d1" ? "Bobby" : "";
  const find = (query: string) => knownPeople([here, hall, many], here, nameOf, query);
  const endpoints = (query: string) => find(query).shown.map((it) => it.endpoint);
  assert.deepEqual(endpoints(" BO"), ["b1", "d1"]);
  assert.deepEqual(find("b 1").shown, [{ endpoint: "b1", kexPub: "kex b1" }]);
  assert.deepEqual(endpoints("ada"), []);
  assert.deepEqual([find("").shown.length, find("").total], [20, 32]);
  const crowd = { members: Array.from({ length: 20_001 }, (_, i) => one(`f${i}`, "Fay")) };
  assert.equal(knownPeople([crowd], here, nameOf, "").total, 20_000);
});
