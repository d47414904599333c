/**
 * The checkers see each promise that is broken: in histories made by hand, and in runs against stores
 * that break it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Store } from "../../../../mod.ts";
import { identityFromSeed } from "../../../../src/client/mod.ts";
import { openSqlite } from "../../../../src/sqlite/mod.ts";
import { randomOf } from "../../crash/plan.ts";
import { eventually, testBus } from "../../../nats/callout/bus.ts";
import { BREAKS } from "../breaks.ts";
import { BusClient } from "../arena/bus_client.ts";
import { check } from "./checks.ts";
import { nameOfCall, SETUP } from "./entries.ts";
import { type Ending, type History, type Json, parseHistory, Recorder } from "./history.ts";
import type { Rule } from "./violations.ts";
import { NamedStore } from "../arena/named.ts";
import { Load, type NodeClient } from "../load.ts";
import { hexOf, historyOf, perform } from "../ops.ts";

/** A node in this process. */
function local(name: string, store: Store, wrap: (store: Store) => Store): NodeClient {
  const named = new NamedStore(store);
  const used = wrap(named.store);
  return {
    name,
    id: `${name}#1`,
    call: (op, args, by): Promise<Ending> =>
      named.call(by, () => op === "history" ? historyOf(store) : perform(used, op, args)),
  };
}

const keysOf = (name: string) => ({ signPub: hexOf(name), kexPub: hexOf(`kex ${name}`) });

/** Lines that a run has at least, however slow the machine is, and how long it and its halves take. */
const LINES = 9000;
const SHORTEST = 1200;
const LONGEST = 30_000;

/** A run of three handles on one file, of which the first may be broken. */
async function runLocally(broken: string | null): Promise<History> {
  const dir = await Deno.makeTempDir({ prefix: "unibus-chaos-" });
  const lines: string[] = [];
  const names = ["n1", "n2", "n3"];
  const stores = names.map(() => openSqlite(`${dir}/a.db`));
  await using silent = openSqlite(`${dir}/a.db`, { history: false });
  const right = (it: Store) => it;
  const wrong = (it: Store) => broken === null ? it : BREAKS[broken]!(it, silent);
  const nodes = names.map((name, i) => local(name, stores[i]!, i === 0 ? wrong : right));
  await stores[0]!.as(SETUP).addUser({ ...keysOf("root"), role: "admin", handle: "root" });
  try {
    const info = { seed: 7, maxStaleness: 400, opTimeout: 1000, nodes: names };
    const recorder = new Recorder(info, (line) => lines.push(line));
    const options = { random: randomOf(7), name: "local", pause: 2, seldom: 700 };
    const load = new Load(nodes, recorder, options);
    const running = load.run();
    const begun = performance.now();
    const until = async (count: number) => {
      const from = performance.now();
      const isEnough = () => lines.length >= count && performance.now() - from > SHORTEST;
      while (!isEnough() && performance.now() - begun < LONGEST) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await until(LINES / 2);
    // As if the first node were cut off; a store on a file is not, and says yes.
    const cut = { name: "partition", nodes: ["n1"], cut: ["n1"] };
    if (broken === "open_when_cut") recorder.fault({ ...cut, phase: "begin" });
    await until(LINES);
    if (broken === "open_when_cut") recorder.fault({ ...cut, phase: "end" });
    load.stop();
    await running;
    for (const op of ["snapshot", "history"]) {
      for (const node of nodes) {
        const id = recorder.begin({ client: "check", node: node.id, op, args: {} });
        recorder.end(id, await node.call(op, {}));
      }
    }
  } finally {
    for (const it of stores) await it.close();
    await Deno.remove(dir, { recursive: true });
  }
  return parseHistory(lines);
}

const rulesOf = (history: History) => [...new Set(check(history).violations.map((it) => it.rule))];

Deno.test("a run against a store that is right finds nothing", async () => {
  const history = await runLocally(null);
  const { violations, looked } = check(history);
  assert.deepEqual(violations, []);
  for (
    const what of [
      "yes",
      "users",
      "invites",
      "rooms",
      "audits",
      "lastWrites",
      "entries",
      "explained",
    ]
  ) {
    assert.ok(looked[what]! > 0, `${what}: ${JSON.stringify(looked)}`);
  }
});

const FOUND: Record<string, Rule[]> = {
  endless_cache: ["stale_yes", "own_write", "linearizable"],
  open_when_cut: ["yes_while_cut", "answered_while_cut"],
  dropped_write: ["linearizable"],
  double_claim: ["claimed_twice", "linearizable"],
  no_owner_key: ["owner_key"],
  stale_read: ["linearizable"],
  late: ["too_long"],
  forgets: ["nodes_differ"],
  no_entry: ["entry"],
};

Deno.test("a run against a store that breaks a promise finds it", async (t) => {
  const names = Object.keys(BREAKS).filter((it) => it in FOUND);
  /** What is found in a run, or in another: nothing may have looked where it was broken. */
  const found = async (name: string) => {
    const rules = new Set<Rule>();
    for (let tries = 0; tries < 4 && !FOUND[name]!.every((it) => rules.has(it)); tries++) {
      for (const it of rulesOf(await runLocally(name))) rules.add(it);
    }
    return [...rules];
  };
  // They mostly wait, so they wait together.
  const runs = names.map(found);
  for (const [i, name] of names.entries()) {
    await t.step(name, async () => {
      const rules = await runs[i]!;
      for (const rule of FOUND[name]!) assert.ok(rules.includes(rule), `${rule} among ${rules}`);
    });
  }
});

/** A bus, of which the control plane may be told of no change; one user stays connected and is revoked. */
async function runOnBus(broken: string | null): Promise<History> {
  const lines: string[] = [];
  const right = openSqlite(":memory:");
  const store = broken === null ? right : BREAKS[broken]!(right, right);
  await using bus = await testBus({
    store: () => Promise.resolve(store),
    // Now and then all are compared, which would mend it.
    callout: { sweepInterval: 3_600_000 },
  });
  const seed = randomBytes(32);
  const identity = identityFromSeed(seed);
  const recorder = new Recorder({ seed: 7, maxStaleness: 400 }, (line) => lines.push(line));
  const call = (op: string, args: Json) =>
    recorder.call({ client: "c", node: "n1#1", op, args }, () => perform(store, op, args));
  const { signPub } = identity;
  await call("addUser", { signPub, role: "user", handle: "ada" });
  const client = new BusClient(bus.server.url, identity);
  try {
    await eventually(() => client.isOpen(), 60_000);
    await call("revokeUser", { signPub });
    // Who is right needs no time to speak of; who is not, is given some.
    const sent = eventually(() => !client.isOpen(), broken === null ? 60_000 : 1000);
    await (broken === null ? sent : sent.catch(() => {}));
    await call("snapshot", {});
    await recorder.call(
      { client: "check", node: "n1#1", op: "connections", args: {} },
      () => Promise.resolve([{ signPub, open: client.isOpen() }]),
    );
  } finally {
    client.close();
  }
  return parseHistory(lines);
}

Deno.test("a user who is revoked is sent away, and where that is broken it is found", async () => {
  assert.deepEqual(rulesOf(await runOnBus(null)), []);
  assert.deepEqual(rulesOf(await runOnBus("deaf")), ["still_connected"]);
});

type Line = [
  start: number,
  end: number,
  op: string,
  args: object,
  outcome?: unknown,
  node?: string,
  revision?: string | null,
];

/** A history made by hand. */
function made(lines: Line[], faults: History["faults"] = []): History {
  const run = { seed: 1, wall: 0, maxStaleness: 3000, opTimeout: 5000 };
  const calls = lines.map(([start, end, op, args, outcome, node = "n1#1", revision], i) => ({
    ...{ id: i, client: "c", node, op, args, start, end },
    ...revision !== undefined && { revision },
    ...(typeof outcome === "string"
      ? { error: outcome, message: "" }
      : { answer: outcome ?? null }),
  }));
  return { run, calls, faults };
}

const who = { signPub: "ada" };
const add: Line = [0, 1, "addUser", { ...who, role: "user", handle: "a" }];
const shown = (status: string) => ({ status, role: "user", handle: "a" });
const mark = (position: number): Line => [2, 3, "mark", {}, { position }];
const promoted = (users: object): Line => [
  ...[6, 7, "promote", {}] as const,
  { position: 10, problems: [], users, invites: {}, rooms: {} },
];
const end = (users: object, node = "n1#1", digest = "d"): Line => [
  ...[20_000, 20_100, "snapshot", {}] as const,
  { digest, problems: [], users, invites: {}, rooms: {} },
  node,
];

/** An acknowledged change with its revision. */
const wrote = (line: Line, revision: string | null): Line => {
  const [start, end, op, args, outcome, node] = line;
  return [start, end, op, args, outcome, node, revision];
};
const entry = (revision: string, action: string, about: object, by: number | string): Json => ({
  ...{ revision, action, by: typeof by === "string" ? by : nameOfCall(by), at: "" },
  ...{ user: null, room: null, invite: null, before: null, after: null, ...about },
});
const entryOfAdd = (by: number | string, revision = "0.5") =>
  entry(revision, "user.added", { user: "ada", after: { role: "user", handle: "a" } }, by);
const log = (entries: Json[], more: object = {}, node = "n1#1"): Line => [
  ...[20_200, 20_300, "history", {}] as const,
  { entries, end: { revision: null, head: "h" }, problems: [], ...more },
  node,
];
const followed = (...revisions: string[]) => ({ followed: { revisions, error: null } });
const active = end({ ada: "active/user/a" });
const revoke: Line = [2, 3, "revokeUser", who, shown("revoked")];
const revoked = entry("0.7", "user.revoked", { user: "ada" }, 1);

const BY_HAND: [name: string, rule: Rule | null, History][] = [
  ["an acknowledged write that is there", null, made([add, end({ ada: "active/user/a" })])],
  ["an acknowledged write that is gone at the end", "lost_write", made([add, end({})])],
  [
    "a promoted follower that lacks a write from before its position",
    "promoted_lacks",
    made([add, mark(10), promoted({})]),
  ],
  ["one that has it", null, made([add, mark(10), promoted({ ada: "active/user/a" })])],
  ["one that ends before the write, perhaps", null, made([add, mark(11), promoted({})])],
  [
    "one that may have what was written later",
    null,
    made([add, mark(10), [4, 5, "deleteUser", who], promoted({})]),
  ],
  [
    "one that an open deletion may have taken",
    null,
    made([add, [2, 3, "deleteUser", who, "unavailable"], end({})]),
  ],
  [
    "yes in time after a revocation",
    null,
    made([add, [2, 3, "revokeUser", who, shown("revoked")], [
      ...[3002, 3100, "isAuthorized", who, true, "n2#1"] as const,
    ]]),
  ],
  [
    "yes too late after a revocation",
    "stale_yes",
    made([add, [2, 3, "revokeUser", who, shown("revoked")], [
      ...[3004, 3100, "isAuthorized", who, true, "n2#1"] as const,
    ]]),
  ],
  [
    "yes late, but somebody may have restored it",
    null,
    made([
      add,
      [2, 3, "revokeUser", who, shown("revoked")],
      [100, 200, "restoreUser", who, "unavailable"],
      [3004, 3100, "isAuthorized", who, true, "n2#1"],
    ]),
  ],
  [
    "yes on the node that revoked",
    "own_write",
    made([add, [2, 3, "revokeUser", who, shown("revoked")], [4, 5, "isAuthorized", who, true]]),
  ],
  [
    "yes while cut off, in time",
    null,
    made([add, [3995, 4001, "isAuthorized", who, true]], [
      { at: 1000, name: "partition", phase: "begin", nodes: ["n1"], cut: ["n1"] },
      { at: 9000, name: "partition", phase: "end", nodes: ["n1"], cut: ["n1"] },
    ]),
  ],
  [
    "yes while cut off, too late",
    "yes_while_cut",
    made([add, [4006, 4007, "isAuthorized", who, true]], [
      { at: 1000, name: "partition", phase: "begin", nodes: ["n1"], cut: ["n1"] },
      { at: 9000, name: "partition", phase: "end", nodes: ["n1"], cut: ["n1"] },
    ]),
  ],
  [
    "a user read while cut off",
    "answered_while_cut",
    made([add, [1006, 1007, "getUser", who, shown("active")]], [
      { at: 1000, name: "partition", phase: "begin", nodes: ["n1"], cut: ["n1"] },
      { at: 9000, name: "partition", phase: "end", nodes: ["n1"], cut: ["n1"] },
    ]),
  ],
  [
    "a connection to NATS let in while cut off, too late",
    "yes_while_cut",
    made([add, [4006, 4007, "admission", who, true]], [
      { at: 1000, name: "partition", phase: "begin", nodes: ["n1"], cut: ["n1"] },
      { at: 9000, name: "partition", phase: "end", nodes: ["n1"], cut: ["n1"] },
    ]),
  ],
  [
    "a connection to NATS let in too late after a revocation",
    "stale_yes",
    made([add, [2, 3, "revokeUser", who, shown("revoked")], [
      ...[3004, 3100, "admission", who, true, "n2#1"] as const,
    ]]),
  ],
  [
    "nodes that end alike",
    null,
    made([end({}, "n1#1", "x"), end({}, "n2#1", "x")]),
  ],
  [
    "nodes that end differently",
    "nodes_differ",
    made([end({}, "n1#1", "x"), end({}, "n2#1", "y")]),
  ],
  [
    "a doctor who finds something",
    "doctor",
    made([[0, 1, "doctor", {}, [{ check: "index", level: "problem", message: "It lacks 1" }]]]),
  ],
  [
    "a revoked user who is connected at the end",
    "still_connected",
    made([add, [2, 3, "revokeUser", who, shown("revoked")], end({ ada: "revoked/user/a" }), [
      ...[20_200, 20_201, "connections", {}, [{ signPub: "ada", open: true }]] as const,
    ]]),
  ],
  [
    "an active user who is connected at the end, and a revoked one who is not",
    null,
    made([add, end({ ada: "active/user/a" }), [
      ...[20_200, 20_201, "connections", {}] as const,
      [{ signPub: "ada", open: true }, { signPub: "bob", open: false }],
    ]]),
  ],
  [
    "more orders than can be tried",
    "not_checked",
    made([
      // Each acknowledged, all at the same time: any of them may have come before any other.
      ...Array.from({ length: 20 }, (_, i): Line[] => [
        [i, 1000 + i, "addUser", { ...who, role: "user", handle: `h${i}` }],
        [i, 1000 + i, "deleteUser", who],
      ]).flat(),
      [2000, 2001, "getUser", who, "not_found"],
    ]),
  ],
  [
    "changes with an entry each",
    null,
    made([
      wrote(add, "0.5"),
      wrote(revoke, "0.7"),
      wrote([4, 5, "revokeUser", who, shown("revoked")], null),
      end({ ada: "revoked/user/a" }),
      log([entryOfAdd(0), revoked], followed("0.5", "0.7")),
    ]),
  ],
  [
    "a change without an entry",
    "entry",
    made([
      wrote(add, "0.5"),
      wrote(revoke, "0.7"),
      end({ ada: "revoked/user/a" }),
      log([
        entryOfAdd(0),
      ]),
    ]),
  ],
  [
    "a change that was made although the answer says that there was nothing to change",
    "unexplained",
    made([
      wrote(add, "0.5"),
      wrote(revoke, null),
      end({ ada: "revoked/user/a" }),
      log([
        entryOfAdd(0),
      ]),
    ]),
  ],
  [
    "a change with two entries",
    "entry",
    made([wrote(add, "0.5"), active, log([entryOfAdd(0), entryOfAdd(0, "0.6")])]),
  ],
  [
    "a change with the entry of another user",
    "entry",
    made([wrote(add, "0.5"), active, log([{ ...entryOfAdd(0), user: "bob" }])]),
  ],
  [
    "a change that was acknowledged with another revision",
    "entry",
    made([wrote(add, "0.4"), active, log([entryOfAdd(0)])]),
  ],
  [
    "an entry that no call made",
    "entry",
    made([wrote(add, "0.5"), active, log([entryOfAdd(0), entry("0.6", "keys.pruned", {}, 99)])]),
  ],
  [
    "an entry of a call that was refused",
    "entry",
    made([
      wrote([0, 1, "addUser", { ...who, role: "user", handle: "a" }, "unavailable"], null),
      wrote([2, 3, "addUser", { ...who, role: "user", handle: "a" }, "user_exists"], null),
      active,
      log([entryOfAdd(1)]),
    ]),
  ],
  [
    "an entry of a call whose outcome is open, and one without",
    null,
    made([
      wrote([0, 1, "addUser", { ...who, role: "user", handle: "a" }, "unavailable"], null),
      wrote([2, 3, "revokeUser", who, "unavailable"], null),
      active,
      log([entryOfAdd(0)]),
    ]),
  ],
  [
    "two entries of a call whose outcome is open",
    "entry",
    made([
      wrote([0, 1, "addUser", { ...who, role: "user", handle: "a" }, "unavailable"], null),
      active,
      log([entryOfAdd(0), entryOfAdd(0, "0.6")]),
    ]),
  ],
  [
    "a later change with an earlier revision",
    "entry_order",
    made([
      wrote(add, "0.7"),
      wrote(revoke, "0.5"),
      end({ ada: "revoked/user/a" }),
      log([{ ...revoked, revision: "0.5" }, entryOfAdd(0, "0.7")]),
    ]),
  ],
  [
    "entries that are not in their order",
    "entry_order",
    made([wrote(add, "0.5"), active, log([entryOfAdd(0), entryOfAdd(SETUP, "0.4")])]),
  ],
  [
    "nodes with different histories",
    "histories_differ",
    made([wrote(add, "0.5"), active, log([entryOfAdd(0)]), log([], {}, "n2#1")]),
  ],
  [
    "an entry that was not followed",
    "histories_differ",
    made([wrote(add, "0.5"), active, log([entryOfAdd(0)], followed())]),
  ],
  [
    "an entry that was followed twice",
    "histories_differ",
    made([wrote(add, "0.5"), active, log([entryOfAdd(0)], followed("0.5", "0.5"))]),
  ],
  [
    "a chain that is wrong",
    "histories_differ",
    made([wrote(add, "0.5"), active, log([entryOfAdd(0)], { problems: ["0.5 was changed"] })]),
  ],
  ["an error that is not in the contract", "bad_error", made([[0, 1, "getUser", who, "corrupt"]])],
  ["a call that takes too long", "too_long", made([[0, 9000, "getUser", who, "not_found"]])],
];

for (const [name, rule, history] of BY_HAND) {
  // As many as shows what happens when they do not suffice.
  history.run.orders = 5000;
  Deno.test(`the checkers on a history made by hand: ${name}`, () => {
    const rules = rulesOf(history);
    if (rule === null) assert.deepEqual(rules, []);
    else assert.ok(rules.includes(rule), `${rule} among ${rules}`);
  });
}

Deno.test("a run in which nothing happened does not pass", () => {
  const history = made([]);
  history.run.nodes = ["n1"];
  assert.deepEqual(rulesOf(history), ["nothing_done"]);
});
