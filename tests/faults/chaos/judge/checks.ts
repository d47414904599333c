/**
 * The promises, checked against a recorded run. Each rule looks at the history and at nothing else.
 *
 * @module
 */

import { entryOrder, historiesDiffer, ownEntries, unexplained } from "./entries.ts";
import { type Call, type Fault, type History, isAnswered, isOpen, type Json } from "./history.ts";
import { linearizable, shortest } from "./linearizable.ts";
import { isYes, keyHistories, mutates, stateAfter, stateIn } from "./models.ts";
import type { Rule, Violation } from "./violations.ts";

/** What was looked at and what was found. */
export interface Report {
  violations: Violation[];
  /** Numbers that say how much there was to look at. */
  looked: Record<string, number>;
}

/** At most this many of a rule are shown: one is enough to look into it. */
const SHOWN = 3;

/** Checks all rules. */
export function check(history: History): Report {
  const violations: Violation[] = [];
  const looked: Record<string, number> = {
    calls: history.calls.length,
    answered: history.calls.filter(isAnswered).length,
    open: history.calls.filter(isOpen).length,
    yes: history.calls.filter(isYes).length,
    admissions: history.calls.filter((it) => it.op === "admission" && isYes(it)).length,
  };
  for (const rule of RULES) {
    let shown = 0;
    for (const it of rule(history, looked)) if (shown++ < SHOWN) violations.push(it);
  }
  return { violations, looked };
}

type Checker = (history: History, looked: Record<string, number>) => Iterable<Violation>;

const RULES: Checker[] = [
  linearity,
  lostWrites,
  claimedTwice,
  ownerKeys,
  staleYes,
  ownWrites,
  yesWhileCut,
  answeredWhileCut,
  nodesDiffer,
  ownEntries,
  entryOrder,
  unexplained,
  historiesDiffer,
  followersDiffer,
  promotedLacks,
  doctor,
  stillConnected,
  badErrors,
  tooLong,
  nothingDone,
];

function* linearity(history: History, looked: Record<string, number>): Iterable<Violation> {
  for (const { kind, key, operations, model } of keyHistories(history)) {
    looked[`${kind}s`] = (looked[`${kind}s`] ?? 0) + 1;
    const verdict = linearizable(operations, model, history.run.orders);
    if (verdict.ok === null) {
      const message = `${kind} ${key}: ${operations.length} calls have too many possible orders`;
      yield { rule: "not_checked", message, calls: [] };
    } else if (!verdict.ok) {
      const calls = shortest(operations, model).map(({ call }) =>
        call.op === "snapshot" ? { ...call, answer: stateIn(call.answer, kind, key) } : call
      );
      const message = `No order of the calls on ${kind} ${key} explains their answers`;
      yield { rule: "linearizable", message, calls };
    }
  }
}

/** What the last write that nothing competed with left must be there at the end. */
function* lostWrites(history: History, looked: Record<string, number>): Iterable<Violation> {
  const ends = snapshots(history);
  for (const { kind, key, operations } of keyHistories(history)) {
    const writes = operations.filter((it) => mutates(it.call, kind));
    const last = writes.find((write) =>
      !write.open && writes.every((it) => it === write || it.end < write.start)
    );
    if (last === undefined) continue;
    looked.lastWrites = (looked.lastWrites ?? 0) + 1;
    const expected = stateAfter(last.call, kind);
    for (const end of ends) {
      if (end.start < last.end) continue;
      const found = stateIn(end.answer, kind, key);
      if (found === expected || found.startsWith(`${expected}/`)) continue;
      const message =
        `The last write of ${kind} ${key} was acknowledged; at the end ${end.node} has ${found}, ` +
        `not ${expected}`;
      yield { rule: "lost_write", message, calls: [last.call] };
      break;
    }
  }
}

function* claimedTwice({ calls }: History): Iterable<Violation> {
  for (const [id, of] of grouped(calls.filter((it) => it.op === "consumeInvite"), "id")) {
    const won = of.filter((it) => isAnswered(it) || it.error === "user_exists");
    if (won.length < 2) continue;
    yield { rule: "claimed_twice", message: `${won.length} claims spent invite ${id}`, calls: won };
  }
}

function* ownerKeys({ calls }: History, looked: Record<string, number>): Iterable<Violation> {
  for (const call of calls) {
    if ((call.op !== "audit" && call.op !== "snapshot") || !isAnswered(call)) continue;
    looked.audits = (looked.audits ?? 0) + 1;
    const problems: string[] = call.answer.problems;
    if (problems.length === 0) continue;
    const message = `The records of one moment do not fit together: ${
      problems.slice(0, 3).join("; ")
    }`;
    yield { rule: "owner_key", message, calls: [{ ...call, answer: { problems } }] };
  }
}

const TAKES = new Set(["revokeUser", "deleteUser"]);
const GIVES = new Set(["addUser", "consumeInvite", "restoreUser"]);

function* staleYes({ calls, run }: History): Iterable<Violation> {
  yield* wrongYes(calls, run.maxStaleness, () => true, "stale_yes", (taken, yes) => {
    const ms = Math.round(yes.start - taken.end!);
    return `Yes on ${yes.node}, asked ${ms} ms after ${taken.op} was acknowledged on ${taken.node}`;
  });
}

/** What a store itself has written, its next answer must know. */
function* ownWrites({ calls }: History): Iterable<Violation> {
  const same = (taken: Call, yes: Call) => taken.node === yes.node;
  yield* wrongYes(calls, 0, same, "own_write", (taken, yes) => {
    return `Yes on ${yes.node}, asked after its own ${taken.op} was acknowledged`;
  });
}

function* wrongYes(
  calls: Call[],
  staleness: number,
  applies: (taken: Call, yes: Call) => boolean,
  rule: Rule,
  say: (taken: Call, yes: Call) => string,
): Iterable<Violation> {
  for (const [signPub, of] of grouped(calls, "signPub")) {
    const taken = of.filter((it) => TAKES.has(it.op) && isAnswered(it));
    if (taken.length === 0) continue;
    const given = of.filter((it) => GIVES.has(it.op) && (isAnswered(it) || isOpen(it)));
    for (const yes of of.filter(isYes)) {
      const broken = taken.find((it) =>
        yes.start > it.end! + staleness && applies(it, yes) &&
        // Nothing that may have given access again since the taking began.
        !given.some((other) => other.start < yes.end! && (isOpen(other) || other.end! > it.start))
      );
      if (broken === undefined) continue;
      yield { rule, message: `${say(broken, yes)} (user ${signPub})`, calls: [broken, yes] };
    }
  }
}

/**
 * Between the moment in which a cut is in effect and the one that is noted, and between the clocks of two
 * processes, milliseconds. No more: what is known is as old as the question that brought it, however
 * late the answer comes.
 */
const CLOCKS = 5;

/** A node that cannot reach a majority says no, once what it knew has become too old. */
function* yesWhileCut(history: History, looked: Record<string, number>): Iterable<Violation> {
  const { calls, run } = history;
  const cuts = cutsOf(history);
  looked.cuts = cuts.length;
  const all = calls.filter((it) => it.op === "isAuthorized" || it.op === "admission");
  for (const cut of cuts) {
    const asked = all.filter((it) => isWithin(it, cut, run.maxStaleness));
    looked.askedWhileCut = (looked.askedWhileCut ?? 0) + asked.length;
    for (const yes of asked.filter(isYes)) yield duringCut("yes_while_cut", yes, cut);
  }
}

/** A node that cannot reach a majority says nothing of what is stored, and stores nothing. */
function* answeredWhileCut(history: History, looked: Record<string, number>): Iterable<Violation> {
  const all = history.calls.filter((it) => KNOWS.has(it.op));
  for (const cut of cutsOf(history)) {
    const asked = all.filter((it) => isWithin(it, cut, 0));
    looked.triedWhileCut = (looked.triedWhileCut ?? 0) + asked.length;
    const decided = asked.filter((it) => isAnswered(it) || ERRORS[it.op]?.includes(it.error ?? ""));
    for (const it of decided) yield duringCut("answered_while_cut", it, cut);
  }
}

/** What is answered on a majority's word only. */
const KNOWS = new Set([
  ...["addUser", "getUser", "revokeUser", "restoreUser", "deleteUser"],
  ...["createInvite", "getInvite", "cancelInvite", "consumeInvite"],
  ...["createRoom", "getRoom", "deleteRoom", "rekeyRoom", "addMember", "removeMember"],
]);

/** Whether a call was made while its node was cut off, this long after that began, and ended before. */
function isWithin({ node, start, end }: Call, cut: Cut, after: number): boolean {
  return node.split("#")[0] === cut.node && start > cut.from + after + CLOCKS && end! < cut.until;
}

function duringCut(rule: Rule, call: Call, { node, from, fault }: Cut): Violation {
  const ms = Math.round(call.start - from);
  const what = isYes(call) ? "Yes" : `${call.op} decided`;
  const message = `${what} on ${node}, asked ${ms} ms after it was cut off (${fault})`;
  return { rule, message, calls: [call] };
}

interface Cut {
  node: string;
  from: number;
  until: number;
  fault: string;
}

/** When which node could not reach a majority. */
function cutsOf({ faults }: History): Cut[] {
  const cuts = [];
  const since = new Map<string, Fault>();
  for (const fault of faults) {
    for (const node of fault.cut) {
      const begun = since.get(node);
      if (fault.phase === "begin") {
        if (begun === undefined) since.set(node, fault);
      } else if (begun !== undefined) {
        cuts.push({ node, from: begun.at, until: fault.at, fault: begun.name });
        since.delete(node);
      }
    }
  }
  return cuts;
}

function* nodesDiffer(history: History): Iterable<Violation> {
  const ends = snapshots(history);
  const digests = new Set(ends.map((it) => it.answer.digest));
  if (digests.size < 2) return;
  const found = ends.map((it) => `${it.node} ${it.answer.digest.slice(0, 12)}`).join(", ");
  yield {
    rule: "nodes_differ",
    message: `The nodes end with different records: ${found}`,
    calls: [],
  };
}

/** Followers that hold the same records have the same digest, which covers the revisions too. */
function* followersDiffer(history: History, looked: Record<string, number>): Iterable<Violation> {
  const digests = snapshots(history).flatMap(({ answer }) => answer.followerDigest ?? []);
  looked.followers = digests.length;
  if (new Set(digests).size < 2) return;
  const message = `The followers end with different digests: ${digests.join(", ")}`;
  yield { rule: "followers_differ", message, calls: [] };
}

/**
 * A promoted follower holds every write that was acknowledged up to its position: before a mark was
 * asked for that lies at or before that position.
 */
function* promotedLacks(history: History, looked: Record<string, number>): Iterable<Violation> {
  const marks = history.calls.filter((it) => PLACED.has(it.op) && isAnswered(it));
  const copies = marks.filter((it) => it.op === "promote");
  looked.promoted = copies.length;
  looked.promotedWrites = 0;
  const histories = keyHistories(history);
  for (const copy of copies) {
    const { position, problems } = copy.answer;
    if (problems.length > 0) {
      const message = `A promoted follower of ${copy.node} is not whole: ${problems[0]}`;
      yield { rule: "promoted_lacks", message, calls: [{ ...copy, answer: { problems } }] };
    }
    const before = marks.filter((it) => it.op === "mark" && it.answer.position <= position);
    const since = Math.max(...before.map(({ start }) => start));
    for (const { kind, key, operations } of histories) {
      const writes = operations.filter((it) => mutates(it.call, kind) && it.start < copy.end!);
      const last = writes.find((write) =>
        !write.open && write.end < since &&
        writes.every((it) => it === write || it.end < write.start)
      );
      if (last === undefined) continue;
      looked.promotedWrites++;
      const expected = stateAfter(last.call, kind);
      const found = stateIn(copy.answer, kind, key);
      if (found === expected || found.startsWith(`${expected}/`)) continue;
      const message =
        `A follower of ${copy.node}, promoted at position ${position}, has ${found} of ` +
        `${kind} ${key}, not ${expected}`;
      yield {
        rule: "promoted_lacks",
        message,
        calls: [last.call, { ...copy, answer: { position } }],
      };
    }
  }
}

/** What is answered with a position of the stream. */
const PLACED = new Set(["mark", "promote"]);

function* doctor({ calls }: History, looked: Record<string, number>): Iterable<Violation> {
  for (const call of calls) {
    if ((call.op !== "doctor" && call.op !== "repair") || !isAnswered(call)) continue;
    const found = (call.answer as Json[]).filter((it) => it.level === "problem");
    // A process that is killed in the middle of a large change leaves that to be cleaned up.
    if (call.op === "repair" && found.every((it) => it.check === "rooms")) {
      looked.repaired = (looked.repaired ?? 0) + found.length;
      continue;
    }
    if (found.length === 0) continue;
    const message = `doctor finds: ${found.map((it) => it.message).join("; ")}`;
    yield { rule: "doctor", message, calls: [call] };
  }
}

/** At the end nobody is connected to NATS who is not active. */
function* stillConnected(history: History, looked: Record<string, number>): Iterable<Violation> {
  const end = snapshots(history).at(-1);
  for (const call of history.calls) {
    if (call.op !== "connections" || !isAnswered(call) || end === undefined) continue;
    for (const { signPub, open } of call.answer as Json[]) {
      const state = stateIn(end.answer, "user", signPub);
      const isActive = state.startsWith("active/");
      const what = `${isActive ? "active" : "other"}${open ? "Connected" : "Away"}`;
      looked[what] = (looked[what] ?? 0) + 1;
      if (!open || isActive) continue;
      const message = `User ${signPub} is ${state} and still connected`;
      yield { rule: "still_connected", message, calls: [] };
    }
  }
}

/** Over HTTP a node that cannot tell who asks refuses whoever it is. */
const OVER_HTTP = ["unauthenticated", "forbidden", "rate_limited"];
const EVERYWHERE = [
  "unavailable",
  "closed",
  "lost",
  "unreachable",
  "conflict",
  "missing_key",
  ...OVER_HTTP,
];
const ERRORS: Record<string, string[]> = {
  addUser: ["user_exists"],
  getUser: ["not_found"],
  revokeUser: ["not_found"],
  restoreUser: ["not_found"],
  deleteUser: ["not_found"],
  getInvite: ["not_found"],
  cancelInvite: ["not_found", "invite_used"],
  consumeInvite: [
    ...["not_found", "invite_used", "invite_expired", "invite_canceled", "user_exists"],
  ],
  createRoom: ["room_exists"],
  getRoom: ["not_found"],
  deleteRoom: ["not_found"],
  rekeyRoom: ["not_found"],
  addMember: ["not_found", "member_exists"],
  removeMember: ["not_found"],
  // Killed before it had all of the bucket.
  promote: ["refused"],
};

function* badErrors({ calls }: History): Iterable<Violation> {
  for (const call of calls) {
    const { op, error, message } = call;
    // Who is not let in is told nothing that could be wrong.
    if (error === undefined || op === "admission") continue;
    const isAsking = op === "isAuthorized" || op === "hasAdmin";
    const known = isAsking ? ["lost", "unreachable"] : [...EVERYWHERE, ...ERRORS[op] ?? []];
    if (known.includes(error)) continue;
    yield { rule: "bad_error", message: `${op} ended with ${error}: ${message}`, calls: [call] };
  }
}

/** What a call may take above its time-out on a machine that is busy, milliseconds. */
const LATE = 2500;

function* tooLong(history: History, looked: Record<string, number>): Iterable<Violation> {
  const { calls, run } = history;
  if (run.opTimeout === undefined) return;
  const asleep = history.faults.filter((it) => it.name === "pause_client" && it.phase === "end");
  let longest = 0;
  for (const call of calls) {
    if (call.end === null || SLOW.has(call.op) || call.error === "lost") continue;
    // A client that is paused answers no sooner.
    const sleeper = asleep.some((it) =>
      it.nodes.includes(call.node.split("#")[0]!) && it.at > call.start && it.at < call.end!
    );
    if (sleeper) continue;
    const took = call.end - call.start;
    longest = Math.max(longest, took);
    const calls = TWO_CALLS.has(call.op) ? 2 : 1;
    if (took <= calls * run.opTimeout + (run.late ?? LATE)) continue;
    const message = `${call.op} on ${call.node} took ${Math.round(took)} ms`;
    yield { rule: "too_long", message, calls: [call] };
  }
  looked.longestMs = Math.round(longest);
}

/** These read first what they write then. */
const TWO_CALLS = new Set(["rekeyRoom", "addMember"]);

/** Reads of everything, which have no time-out. */
const SLOW = new Set([
  ...[
    "audit",
    "snapshot",
    "doctor",
    "repair",
    "recover",
    "admission",
    "mark",
    "promote",
    "history",
  ],
]);

/** A run in which nothing happens finds nothing. */
function* nothingDone({ calls, run }: History): Iterable<Violation> {
  if (run.nodes === undefined) return;
  for (const node of run.nodes as string[]) {
    const done = calls.filter((it) =>
      it.node.split("#")[0] === node && isAnswered(it) && KNOWS.has(it.op)
    );
    if (done.length >= 20) continue;
    const message = `${node} answered ${done.length} calls only: the run shows nothing`;
    yield { rule: "nothing_done", message, calls: [] };
  }
  const last = calls.filter((it) => it.op === "snapshot" && isAnswered(it)).length;
  if (last < run.nodes.length) {
    const message = `${last} of ${run.nodes.length} nodes told their records at the end`;
    yield { rule: "nothing_done", message, calls: [] };
  }
}

function snapshots({ calls }: History): Call[] {
  return calls.filter((it) => it.op === "snapshot" && isAnswered(it));
}

function grouped(calls: Call[], field: string): Map<string, Call[]> {
  const groups = new Map<string, Call[]>();
  for (const call of calls) {
    const key = call.args?.[field];
    if (key === undefined) continue;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [call]);
    else group.push(call);
  }
  return groups;
}

/** A violation for people. */
export function show({ rule, message, calls }: Violation): string {
  const lines = calls.map((it) => {
    const span = `${it.start.toFixed(1)} to ${it.end === null ? "?" : it.end.toFixed(1)} ms`;
    const outcome = it.error ?? (it.end === null ? "no answer" : JSON.stringify(it.answer));
    return `  ${span}  ${it.node}  ${it.op} ${JSON.stringify(it.args)} → ${outcome.slice(0, 300)}`;
  });
  return [`${rule}: ${message}`, ...lines].join("\n");
}
