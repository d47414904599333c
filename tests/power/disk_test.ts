/**
 * The disk that forgets, on events that are known.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Disk, type Keep } from "./disk.ts";
import { type Deed, type Event, parseTrace } from "./trace.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const create = (path: string): Deed => ({
  ...{ kind: "open", path, create: true, truncate: false, synced: false },
});
const write = (path: string, text: string, at = 0): Deed => ({
  ...{ kind: "write", path, at, data: bytes(text) },
});
const sync = (path: string): Deed => ({ kind: "sync", path });

/** One deed after the other: the first from 1 to 2, the next from 3 to 4, and so on. */
function inTurn(...deeds: Deed[]): Event[] {
  return deeds.map((it, i) => ({ ...it, thread: 1, begin: 2 * i + 1, end: 2 * i + 2 }));
}

/** Files under `/d` after a loss of power. */
function after(
  events: Event[],
  options: { journal?: boolean; keep?: Keep; moment?: number } = {},
): Record<string, string> {
  const { moment = 1000, keep = "nothing", journal = false } = options;
  const image = new Disk("/d", events, { journal }).lose(moment, keep);
  return Object.fromEntries(
    [...image].flatMap(([path, it]) => it ? [[path, new TextDecoder().decode(it)]] : []),
  );
}

Deno.test("what was synced is there, what was not is gone", () => {
  const events = inTurn(
    ...[create("/d/a"), write("/d/a", "one"), sync("/d"), sync("/d/a"), write("/d/a", "two", 3)],
  );
  assert.deepEqual(after(events), { "/d/a": "one" });
  assert.deepEqual(after(events, { keep: "everything" }), { "/d/a": "onetwo" });
  assert.deepEqual(after(events, { moment: 7 }), { "/d/a": "" });
});

Deno.test("a sync keeps only what had been written when it began", () => {
  const events: Event[] = [
    { ...create("/d/a"), thread: 1, begin: 1, end: 2 },
    { ...sync("/d"), thread: 1, begin: 3, end: 4 },
    { ...write("/d/a", "early"), thread: 1, begin: 5, end: 6 },
    { ...write("/d/a", "late", 5), thread: 2, begin: 7, end: 9 },
    { ...sync("/d/a"), thread: 1, begin: 8, end: 10 },
  ];
  assert.deepEqual(after(events), { "/d/a": "early" });
});

Deno.test("a name needs its directory synced, or on a journal its file", () => {
  const events = inTurn({ kind: "mkdir", path: "/d/e" }, create("/d/e/a"), sync("/d/e/a"));
  assert.deepEqual(after(events), {});
  assert.deepEqual(after(events, { journal: true }), { "/d/e/a": "" });
  assert.deepEqual(after([...events, ...inTurn(sync("/d/e"))]), {}, "/d/e itself is not known");
});

Deno.test("a file renamed over another is the one or the other", () => {
  const begun = [create("/d/a"), write("/d/a", "old"), sync("/d/a"), create("/d/b")];
  const written = [...begun, write("/d/b", "new"), sync("/d/b"), sync("/d")];
  const renamed = inTurn(...written, { kind: "rename", from: "/d/b", to: "/d/a" });
  assert.deepEqual(after(renamed), { "/d/a": "old", "/d/b": "new" });
  const synced = inTurn(...written, { kind: "rename", from: "/d/b", to: "/d/a" }, sync("/d"));
  assert.deepEqual(after(synced), { "/d/a": "new" });
});

Deno.test("a directory renamed keeps what is in it", () => {
  const events = inTurn(
    ...[{ kind: "mkdir", path: "/d/new" } as const, create("/d/new/a"), write("/d/new/a", "it")],
    ...[{ kind: "rename", from: "/d/new", to: "/d/e" } as const, sync("/d/e/a")],
  );
  assert.deepEqual(after(events, { journal: true }), { "/d/e/a": "it" });
});

Deno.test("a write without a sync may be torn between sectors", () => {
  const events = inTurn(create("/d/a"), sync("/d"), write("/d/a", "x".repeat(2048)));
  let i = 0;
  // The chance of a sector (one half), then the names, then a sector after the other.
  const drawn = [0.5, 0, 0.9, 0.1, 0.9, 0.1];
  const found = after(events, { keep: { random: () => drawn[i++]! } })["/d/a"]!;
  assert.equal(found, "\0".repeat(512) + "x".repeat(512) + "\0".repeat(512) + "x".repeat(512));
});

Deno.test("a log of strace is read: calls that others interrupt, offsets, names, sockets", () => {
  const hex = (text: string) =>
    [...bytes(text)].map((it) => `\\x${it.toString(16).padStart(2, "0")}`).join("");
  const cwd = `AT_FDCWD<${hex("/")}>`;
  const flags = "O_WRONLY|O_CREAT, 0600";
  const file = `7<${hex("/d/a")}>`;
  const log = [
    `10 1.000001 openat(${cwd}, "${hex("/d/a")}", ${flags}) = ${file} <0.000010>`,
    `10 1.000002 write(${file}, "${hex("one")}", 3 <unfinished ...>`,
    `11 1.000003 fsync(${file}) = 0 <0.000010>`,
    `10 1.000004 <... write resumed>) = 3 <0.000020>`,
    `10 1.000005 write(${file}, "${hex("two")}", 3) = 3 <0.000010>`,
    `10 1.000006 pwrite64(${file}, "${hex("X")}", 1, 5) = 1 <0.000010>`,
    `10 1.000007 openat(${cwd}, "${hex("/d/b")}", O_RDONLY) = -1 ENOENT (No such file) <0.000010>`,
    `10 1.000008 write(9<TCP:[${hex("1->2")}]>, "${hex("+OK")}", 3) = 3 <0.000010>`,
    `10 1.000009 fsync(${file} <unfinished ...>`,
  ].join("\n");
  const events = parseTrace(log, { root: "/d" });
  assert.deepEqual(events.map(({ kind, begin, end }) => [kind, begin, end]), [
    ...[["open", 1, 1], ["sync", 3, 3], ["write", 2, 4], ["write", 5, 5], ["write", 6, 6]],
    ...[["say", 8, 8], ["sync", 9, Infinity]],
  ]);
  assert.deepEqual(after(events, { keep: "everything" }), { "/d/a": "onetwX" });
  assert.deepEqual(after(events), {});
});
