/**
 * What the console makes of values, addresses and failures.
 */

import assert from "node:assert/strict";
import { failureOf } from "../../../src/client/http/failure.ts";
import { StoreError } from "../../../src/core/errors.ts";
import { STATUS } from "../../../src/core/status.ts";
import { apiOf } from "../../../src/web/console/data/api.ts";
import * as told from "../../../src/web/console/data/failure.ts";
import {
  changeWordsOf,
  Failure,
  skewWords,
  wordsOf,
} from "../../../src/web/console/data/failure.ts";
import * as format from "../../../src/web/shared/format.ts";
import { hrefOf, placeOf } from "../../../src/web/console/route.ts";
import { idleChoices, sinceOf } from "../../../src/web/console/ui/idle.tsx";
import { ceiling } from "../../../src/web/console/ui/chart.tsx";
import { HOSTILE } from "../console.ts";

Deno.test("values are short and never of a larger unit than they are", () => {
  for (
    const [value, text] of [
      [0, "0 B"],
      [999, "999 B"],
      [1000, "1.00 KB"],
      [9_994, "9.99 KB"],
      [9_996, "10.0 KB"],
      [99_960, "100 KB"],
      [999_499, "999 KB"],
      [999_500, "1.00 MB"],
      [1_234_567, "1.23 MB"],
      [Number.MAX_SAFE_INTEGER, "9.01 PB"],
    ] as const
  ) assert.equal(format.bytes(value), text);
  for (
    const [ms, text] of [
      [0, "0 ms"],
      [0.04, "0 ms"],
      [0.31, "0.3 ms"],
      [2, "2 ms"],
      [9.96, "10 ms"],
      [994, "994 ms"],
      [996, "1.0 s"],
      [12_345, "12 s"],
    ] as const
  ) assert.equal(format.millis(ms), text);
  assert.equal(format.counted(1, "user"), "1 user");
  assert.equal(format.counted(10_000, "user"), "10,000 users");
  assert.equal(format.shortKey("0123456789abcdef".repeat(4)), "01234567…abcdef");
});

Deno.test("a time is told as seen from now, and one that cannot be read is told as that", () => {
  const now = Date.parse("2026-11-21T12:00:00.000Z");
  const at = (ms: number): string => format.ago(new Date(now + ms).toISOString(), now);
  assert.equal(at(0), "just now");
  assert.equal(at(-45_000), "45 seconds ago");
  assert.equal(at(3_600_000 - 1_000), "in 60 minutes");
  assert.equal(at(-7_200_000), "2 hours ago");
  assert.equal(at(7 * 86_400_000 - 5_000), "in 7 days");
  assert.equal(at(-40 * 86_400_000), "40 days ago");
  assert.equal(at(365 * 86_400_000), "in 12 months");
  assert.equal(format.ago("soon", now), "at an unreadable time");
  assert.equal(format.moment("soon"), "soon");
});

Deno.test("what has happened is never told as ahead, however the clocks differ", () => {
  const now = Date.parse("2026-11-21T12:00:00.000Z");
  const since = (ms: number): string => format.since(new Date(now + ms).toISOString(), now);
  for (const ms of [0, 6_000, 3_600_000]) assert.equal(since(ms), "just now");
  assert.equal(since(-45_000), "45 seconds ago");
  assert.equal(format.since("soon", now), "at an unreadable time");
});

Deno.test("marks that would hide or turn a name are shown, those of emoji are left", () => {
  assert.equal(format.visible("a\u202Eb"), "a⟨202E⟩b");
  assert.equal(format.visible("a\u200Bb\u2066c\u0000d\u00AD"), "a⟨200B⟩b⟨2066⟩c⟨0000⟩d⟨00AD⟩");
  for (const text of [HOSTILE[0]!, HOSTILE[2]!, HOSTILE[3]!, "مرحبا", "plain"]) {
    assert.equal(format.visible(text), text);
  }
  // Letters that are blank, and marks of emoji where there is none: a name of them would not be seen.
  assert.equal(format.visible("\u3164"), "⟨3164⟩");
  assert.equal(format.visible("ada\u115F\u034F"), "ada⟨115F⟩⟨034F⟩");
  assert.equal(format.visible("\u2800\u200D\uFE0F"), "⟨2800⟩⟨200D⟩⟨FE0F⟩");
  assert.equal(format.visible("ada\u{E0061}"), "ada⟨E0061⟩");
  for (const text of ["👩‍👩‍👧", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "1️⃣", "ශ්‍රී", "葛󠄀"]) {
    assert.equal(format.visible(text), text);
  }
});

Deno.test("users can be called idle for no longer than the server has run", () => {
  const now = Date.parse("2026-11-22T12:00:00Z");
  const choices = (startedAt: string | null) =>
    idleChoices(startedAt, now).filter(([, , isOff]) => isOff !== true).map(([it]) => it);
  assert.deepEqual(choices(null), ["", "start"]);
  assert.deepEqual(choices("2026-11-22T11:00:00Z"), ["", "start"]);
  assert.deepEqual(choices("2026-11-15T12:00:00Z"), ["", "1", "7", "start"]);
  assert.deepEqual(choices("2026-10-01T00:00:00Z"), ["", "1", "7", "30", "start"]);
  assert.deepEqual(idleChoices("2026-11-15T12:00:00Z", now).map(([, text]) => text), [
    "Any",
    "1 day",
    "7 days",
    "30 days (not yet)",
    "Since start",
  ]);
  assert.equal(sinceOf("7", now + 59_000), "2026-11-15T12:00:00.000Z");
  assert.equal(sinceOf("start", now), "1970-01-01T00:00:00.000Z");
});

Deno.test("every address leads somewhere, and every id comes back from its address", () => {
  for (const id of ["ops", "a/b", "设计", "100%", "<svg/onload=x", "..", "#?&=", "new"]) {
    assert.deepEqual(placeOf(hrefOf("rooms", id)), { view: "rooms", id });
  }
  for (const it of ["", "#", "#/", "#/nothing", "#/nothing/x", "#users", "#/Users", "#/../v1/me"]) {
    assert.deepEqual(placeOf(it), { view: "overview", id: null });
  }
  assert.deepEqual(placeOf("#/rooms/%E0%A4%A"), { view: "rooms", id: null });
  assert.deepEqual(placeOf("#/users/"), { view: "users", id: null });
});

Deno.test("every code that the server knows has words, and none of them is the code", () => {
  for (const code of Object.keys(STATUS)) {
    const words = wordsOf(new Failure("problem", "detail", { code, detail: "The value is wrong" }));
    assert.match(words, /^[A-Z].*\.$|The value is wrong/, code);
    assert.equal(words.includes("_"), false, words);
  }
  assert.match(skewWords(600_000), /10 minutes ahead of/);
  assert.match(skewWords(-80_000), /80 seconds behind/);
  assert.match(skewWords(-90_000 * 1000), /25 hours behind/);
});

Deno.test("only a no to the caller ends the session", async () => {
  const date = new Date(Date.now() - 600_000).toUTCString();
  const answer = (status: number, body: object | string): Promise<StoreError> => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return failureOf(new Response(text, { status, headers: { date } }), "GET /v1/me");
  };
  for (
    const [error, kind, ends] of [
      [await answer(403, { code: "forbidden", field: "keyid" }), "ended", true],
      [await answer(403, { code: "forbidden" }), "ended", true],
      [await answer(403, { code: "forbidden", field: "host" }), "problem", false],
      [await answer(403, { code: "forbidden", field: "origin" }), "problem", false],
      [await answer(403, "<h1>Forbidden</h1>"), "unreachable", false],
      [await answer(401, { code: "unauthenticated", reason: "created" }), "clock", false],
      [await answer(401, { code: "unauthenticated", reason: "nonce" }), "problem", false],
      [await answer(503, { code: "unavailable" }), "problem", false],
      [await answer(500, { code: "internal" }), "problem", false],
      [await answer(502, "<h1>Bad gateway</h1>"), "unreachable", false],
      [new StoreError("unavailable", "GET /v1/me got no response"), "unreachable", false],
    ] as const
  ) {
    let ended = false;
    const call = () => Promise.reject(error);
    const api = apiOf({ call, timeout: 0, clockOffset: 0 }, () => ended = true);
    await assert.rejects(api.me(), (it) => it === error && told.failureOf(it).kind === kind);
    assert.equal(ended, ends, error.message);
  }
  const words = async (status: number, body: object): Promise<string> =>
    wordsOf(told.failureOf(await answer(status, body)));
  assert.match(await words(500, { code: "internal" }), /^Internal server error/);
  const detail = "The owner is an active user";
  assert.equal(await words(409, { code: "refused", detail }), `${detail}.`);
  const unclear = told.failureOf(await answer(503, { code: "unavailable" }));
  assert.doesNotMatch(wordsOf(unclear), /change/);
  assert.match(changeWordsOf(unclear), /^The server cannot.* may or may not have been made/);
  assert.match(
    await words(401, { code: "unauthenticated", reason: "created" }),
    /10 minutes ahead/,
  );
});

Deno.test("a chart ends a little above its highest value", () => {
  for (const [value, top] of [[0, 1], [0.3, 0.4], [1, 1], [1.5, 2], [4, 4], [5, 10], [41, 100]]) {
    assert.equal(ceiling(value!), top);
  }
});
