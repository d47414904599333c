/**
 * The checker itself, on histories that are known to be good or bad, and against trying all orders.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type Call, parseHistory, Recorder } from "./history.ts";
import { linearizable, type Operation, type SequentialModel, shortest } from "./linearizable.ts";
import { keyHistories } from "./models.ts";

interface RegisterCall extends Operation {
  op: "write" | "read" | "swap";
  /** What is written. */
  value: number;
  /** What was read, or is expected by a swap. */
  found: number;
  /** Whether a swap found what it expected. */
  swapped: boolean;
}

/** One number that is read, written, and compared and set. */
const register: SequentialModel<number, RegisterCall> = {
  initial: 0,
  key: String,
  isRead: ({ op, open, swapped }) => !open && (op === "read" || (op === "swap" && !swapped)),
  next(state, { op, value, found, swapped, open }) {
    if (op === "write") return value;
    if (op === "read") return open || state === found ? state : null;
    if (open || swapped) return state === found ? value : null;
    return state === found ? null : state;
  },
  effect: ({ op, value, found }) => `${op} ${value} ${op === "swap" ? found : ""}`,
};

/** Tries every order. */
function someOrder<S, O extends Operation>(
  history: readonly O[],
  model: SequentialModel<S, O>,
  state: S = model.initial,
): boolean {
  if (history.every((it) => it.open)) return true;
  return history.some((it) => {
    // Whoever ended before it began comes first.
    if (history.some((other) => !other.open && other.end < it.start)) return false;
    const rest = history.filter((other) => other !== it);
    if (it.open && someOrder(rest, model, state)) return true;
    const next = model.next(state, it);
    return next !== null && someOrder(rest, model, next);
  });
}

const registerCall: fc.Arbitrary<RegisterCall> = fc.record({
  op: fc.constantFrom("write" as const, "read" as const, "swap" as const),
  value: fc.integer({ min: 0, max: 2 }),
  found: fc.integer({ min: 0, max: 2 }),
  swapped: fc.boolean(),
  start: fc.integer({ min: 0, max: 12 }),
  span: fc.integer({ min: 0, max: 8 }),
  open: fc.integer({ min: 0, max: 3 }).map((it) => it === 0),
}).map(({ start, span, ...rest }) => ({ ...rest, start, end: start + span }));

Deno.test("the checker finds what trying every order finds, on random histories", () => {
  let good = 0;
  let bad = 0;
  fc.assert(
    fc.property(fc.array(registerCall, { maxLength: 7 }), (history) => {
      const expected = someOrder(history, register);
      if (expected) good++;
      else bad++;
      assert.equal(linearizable(history, register).ok, expected);
      const bare = { ...register };
      delete bare.effect;
      assert.equal(linearizable(history, bare).ok, expected);
      const part = shortest(history, register);
      assert.equal(part.length > 0, !expected);
      if (!expected) assert.equal(someOrder(part, register), false);
    }),
    { numRuns: 2000 },
  );
  assert.ok(good > 200 && bad > 200, `${good} good and ${bad} bad`);
});

Deno.test("the checker says so when it gives up", () => {
  const history = Array.from({ length: 24 }, (_, i): RegisterCall => ({
    op: "swap",
    value: i % 2,
    found: 2,
    swapped: false,
    start: i,
    end: 100,
    open: i % 2 === 0,
  }));
  history.push({ ...history[1]!, op: "read", found: 7, start: 0, end: 99 });
  for (let i = 0; i < 20; i++) history.push({ ...history[0]!, op: "write", value: i, start: i });
  assert.equal(linearizable(history, register, 100).ok, null);
});

const WALL = Date.parse("2026-11-20T08:00:00.000Z");
const ada = "ada";

/** `start end op args → outcome`, as a history of the recorder has it. */
type Line = [
  start: number,
  end: number | null,
  op: string,
  args: object,
  outcome?: unknown,
  node?: string,
];

/** Records the lines as calls. */
function recorded(lines: Line[]): ReturnType<typeof parseHistory> {
  const text: string[] = [];
  let now = 0;
  const events: { at: number; run: () => void }[] = [];
  const recorder = new Recorder(
    { seed: 1, maxStaleness: 3000 },
    (line) => text.push(line),
    () => now,
  );
  for (const [start, end, op, args, outcome, node = "n1#1"] of lines) {
    let id = 0;
    events.push({
      at: start,
      run: () => id = recorder.begin({ client: "c", node, op, args }),
    });
    if (end === null) continue;
    events.push({
      at: end,
      run: () =>
        recorder.end(
          id,
          typeof outcome === "string"
            ? { error: outcome, message: outcome }
            : { answer: outcome ?? null },
        ),
    });
  }
  events.sort((a, b) => a.at - b.at);
  for (const { at, run } of events) {
    now = at;
    run();
  }
  const history = parseHistory(text);
  return { ...history, run: { ...history.run, wall: WALL } };
}

const user = (status: string, handle: string, role = "user") => ({ status, role, handle });
const add = (handle: string) => ({ signPub: ada, role: "user", handle });
const of = { signPub: ada };

const USERS: Record<string, { good: boolean; lines: Line[] }> = {
  "added, revoked, restored, deleted, one after another": {
    good: true,
    lines: [
      [0, 1, "getUser", of, "not_found"],
      [2, 3, "addUser", add("a")],
      [4, 5, "revokeUser", of, user("revoked", "a")],
      [6, 7, "restoreUser", of, user("active", "a")],
      [8, 9, "deleteUser", of],
      [10, 11, "revokeUser", of, "not_found"],
    ],
  },
  "a stale read": {
    good: false,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 3, "revokeUser", of, user("revoked", "a")],
      [4, 5, "getUser", of, user("active", "a")],
    ],
  },
  "a read beside the write may see either": {
    good: true,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 9, "revokeUser", of, user("revoked", "a")],
      [3, 4, "getUser", of, user("active", "a")],
      [5, 6, "getUser", of, user("revoked", "a")],
    ],
  },
  "two reads beside the write that see it and then do not": {
    good: false,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 9, "revokeUser", of, user("revoked", "a")],
      [3, 4, "getUser", of, user("revoked", "a")],
      [5, 6, "getUser", of, user("active", "a")],
    ],
  },
  "a read from the future": {
    good: false,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 3, "getUser", of, user("revoked", "a")],
      [4, 5, "revokeUser", of, user("revoked", "a")],
    ],
  },
  "a lost update: the revocation was acknowledged and is gone": {
    good: false,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 3, "revokeUser", of, user("revoked", "a")],
      [10, 11, "restoreUser", of, "not_found"],
    ],
  },
  "two that add the same key both win": {
    good: false,
    lines: [
      [0, 5, "addUser", add("a")],
      [1, 6, "addUser", add("b")],
    ],
  },
  "one wins, and the other is told so": {
    good: true,
    lines: [
      [0, 5, "addUser", add("a"), "user_exists"],
      [1, 6, "addUser", add("b")],
      [7, 8, "getUser", of, user("active", "b")],
    ],
  },
  "an unknown outcome may take effect late": {
    good: true,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 3, "revokeUser", of, "unavailable"],
      [4, 5, "getUser", of, user("active", "a")],
      [6, 7, "getUser", of, user("revoked", "a")],
    ],
  },
  "an unknown outcome may take effect never, or stay without an answer": {
    good: true,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, null, "deleteUser", of],
      [3, 4, "revokeUser", of, "unavailable"],
      [5, 6, "getUser", of, user("active", "a")],
    ],
  },
  "an unknown outcome does not take effect twice": {
    good: false,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 3, "revokeUser", of, "unavailable"],
      [4, 5, "getUser", of, user("revoked", "a")],
      [6, 7, "restoreUser", of, user("active", "a")],
      [8, 9, "getUser", of, user("revoked", "a")],
    ],
  },
  "an unknown outcome does not take effect before it was asked": {
    good: false,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 3, "getUser", of, user("revoked", "a")],
      [4, null, "revokeUser", of],
    ],
  },
  "a claim that failed added nobody": {
    good: false,
    lines: [
      [0, 1, "consumeInvite", { ...add("a"), id: "i" }, "invite_used"],
      [2, 3, "getUser", of, user("active", "a")],
    ],
  },
  "a yes that is as old as it may be": {
    good: true,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 3, "revokeUser", of, user("revoked", "a")],
      [3003, 3004, "isAuthorized", of, true],
    ],
  },
  "a yes that is older": {
    good: false,
    lines: [
      [0, 1, "addUser", add("a")],
      [2, 3, "revokeUser", of, user("revoked", "a")],
      [3004, 3005, "isAuthorized", of, true],
    ],
  },
  "a yes for somebody who is yet to come": {
    good: false,
    lines: [
      [0, 1, "isAuthorized", of, true],
      [2, 3, "addUser", add("a")],
    ],
  },
};

const at = (ms: number) => new Date(WALL + ms).toISOString();
const made: Line = [0, 1, "createInvite", { role: "user" }, { id: "i", expiresAt: at(10_000) }];
const claim = (signPub: string) => ({ id: "i", signPub, role: "user", handle: signPub });

const INVITES: Record<string, { good: boolean; lines: Line[] }> = {
  "claimed once by one of many": {
    good: true,
    lines: [
      made,
      [2, 9, "consumeInvite", claim("a"), "invite_used"],
      [2, 9, "consumeInvite", claim("b")],
      [2, 9, "consumeInvite", claim("c"), "conflict"],
      [10, 11, "getInvite", { id: "i" }, { usedBy: "b", canceledAt: null }],
      [12, 13, "cancelInvite", { id: "i" }, "invite_used"],
    ],
  },
  "claimed twice": {
    good: false,
    lines: [made, [2, 9, "consumeInvite", claim("a")], [3, 8, "consumeInvite", claim("b")]],
  },
  "spent by somebody who is registered already": {
    good: true,
    lines: [
      made,
      [2, 3, "consumeInvite", claim("a"), "user_exists"],
      [4, 5, "consumeInvite", claim("b"), "invite_used"],
    ],
  },
  "not spent by somebody who is registered already": {
    good: false,
    lines: [
      made,
      [2, 3, "consumeInvite", claim("a"), "user_exists"],
      [4, 5, "consumeInvite", claim("b")],
    ],
  },
  "used before anybody claimed it": {
    good: false,
    lines: [
      made,
      [2, 3, "consumeInvite", claim("b"), "invite_used"],
      [4, 5, "consumeInvite", claim("a")],
    ],
  },
  "claimed after it was cancelled": {
    good: false,
    lines: [
      made,
      [2, 3, "cancelInvite", { id: "i" }],
      [4, 5, "consumeInvite", claim("a")],
    ],
  },
  "claimed by whom nobody knows, then used": {
    good: true,
    lines: [
      made,
      [2, null, "consumeInvite", claim("a")],
      [3, 4, "cancelInvite", { id: "i" }, "unavailable"],
      [5, 6, "consumeInvite", claim("b"), "invite_used"],
    ],
  },
  "claimed long after it expired": {
    good: false,
    lines: [made, [11_000, 11_001, "consumeInvite", claim("a")]],
  },
  "expired before its time": {
    good: false,
    lines: [made, [5000, 5001, "consumeInvite", claim("a"), "invite_expired"]],
  },
  "expired in time": {
    good: true,
    lines: [made, [10_001, 10_002, "consumeInvite", claim("a"), "invite_expired"]],
  },
};

const room = (epoch: number, subject = "s") => ({ epoch, subject });
const r = { id: "r" };

const ROOMS: Record<string, { good: boolean; lines: Line[] }> = {
  "made, rekeyed, deleted, made again": {
    good: true,
    lines: [
      [0, 1, "createRoom", { ...r, subject: "s" }],
      [2, 3, "rekeyRoom", { ...r, epoch: 2 }, room(2)],
      [2, 4, "rekeyRoom", { ...r, epoch: 2 }, "conflict"],
      [5, 6, "deleteRoom", r],
      [7, 8, "getRoom", r, "not_found"],
      [9, 10, "createRoom", { ...r, subject: "t" }],
      [11, 12, "getRoom", r, room(1, "t")],
    ],
  },
  "two rekeys to one epoch both win": {
    good: false,
    lines: [
      [0, 1, "createRoom", { ...r, subject: "s" }],
      [2, 5, "rekeyRoom", { ...r, epoch: 2 }, room(2)],
      [3, 4, "rekeyRoom", { ...r, epoch: 2 }, room(2)],
    ],
  },
  "an epoch goes back": {
    good: false,
    lines: [
      [0, 1, "createRoom", { ...r, subject: "s" }],
      [2, 3, "rekeyRoom", { ...r, epoch: 2 }, room(2)],
      [4, 5, "getRoom", r, room(1)],
    ],
  },
};

for (const [kind, cases] of Object.entries({ user: USERS, invite: INVITES, room: ROOMS })) {
  for (const [name, { good, lines }] of Object.entries(cases)) {
    Deno.test(`the checker on the history of one ${kind}, ${good ? "good" : "bad"}: ${name}`, () => {
      const of = keyHistories(recorded(lines)).filter((it) => it.kind === kind);
      const verdicts = of.map((it) => linearizable(it.operations, it.model).ok);
      assert.equal(verdicts.every((it) => it === true), good, String(verdicts));
      assert.ok(!verdicts.includes(null));
    });
  }
}

Deno.test("the shortest part of a bad history leaves out what it does not need", () => {
  const lines: Line[] = [[0, 1, "addUser", add("a")]];
  for (let i = 0; i < 20; i++) {
    const t = 10 * i;
    lines.push([t + 2, t + 3, "revokeUser", of, user("revoked", "a")]);
    lines.push([t + 4, t + 5, "getUser", of, user("revoked", "a")]);
    lines.push([t + 6, t + 7, "restoreUser", of, user("active", "a")]);
  }
  lines.push([300, 301, "revokeUser", of, user("revoked", "a")]);
  lines.push([302, 303, "getUser", of, user("revoked", "a")]);
  lines.push([304, 305, "getUser", of, user("active", "a")]);
  lines.push([306, 307, "deleteUser", of]);
  const [{ operations, model }] = keyHistories(recorded(lines)) as [
    ReturnType<typeof keyHistories>[number],
  ];
  const part = shortest(operations, model).map(({ call }: { call: Call }) => call);
  assert.ok(part.length <= 4, JSON.stringify(part));
  assert.deepEqual(part.at(-1)!.answer, user("active", "a"));
});

Deno.test("what an open call has made may be there at the end", () => {
  const end = { users: { ada: "active/user/b" }, invites: {}, rooms: {}, digest: "", problems: [] };
  const of = keyHistories(recorded([
    [0, 1, "addUser", add("a")],
    [2, 3, "deleteUser", { signPub: ada }],
    [4, 5, "addUser", add("b"), "unavailable"],
    [4, 5, "addUser", add("c"), "unavailable"],
    [9, 10, "snapshot", {}, end],
  ]));
  assert.deepEqual(of.map((it) => linearizable(it.operations, it.model).ok), [true]);
});

Deno.test("a long history with many unknown outcomes is checked in a moment", () => {
  const lines: Line[] = [[0, 1, "addUser", add("a")]];
  for (let i = 0; i < 300; i++) {
    const t = 10 * i;
    const next = i % 2 ? "restoreUser" : "revokeUser";
    lines.push([t + 2, t + 3, next, of, user(i % 2 ? "active" : "revoked", "a")]);
    if (i % 10 === 0) lines.push([t + 2, t + 8, "revokeUser", of, "unavailable"]);
    if (i % 10 === 5) lines.push([t + 2, t + 8, "deleteUser", of, "unavailable"]);
  }
  const begun = performance.now();
  const [{ operations, model }] = keyHistories(recorded(lines)) as [
    ReturnType<typeof keyHistories>[number],
  ];
  const { ok } = linearizable(operations, model);
  assert.equal(ok, true);
  assert.ok(performance.now() - begun < 5000);
});
