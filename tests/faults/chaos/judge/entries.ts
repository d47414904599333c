/**
 * The promise of the history, checked against a recorded run: every acknowledged change has exactly one
 * entry, and there is no other.
 *
 * @module
 */

import type { HistoryEntry } from "../../../../src/core/history/entry.ts";
import { compareRevisionTexts } from "../../../../src/core/history/revision.ts";
import { type Call, type History, isAnswered, isOpen, type Json } from "./history.ts";
import type { Violation } from "./violations.ts";

/** In whose name the arena writes what a round begins with. */
export const SETUP = "setup";

/** Returns the name in which a call is made, so that its entry can be found. */
export function nameOfCall(id: number): string {
  return `call:${id}`;
}

/** What an entry of a call must say. */
interface Expected {
  action?: HistoryEntry["action"];
  user?: string;
  room?: string;
  invite?: string;
}

/** Changes, by call: what their entry says, and whether an answer may mean that nothing was changed. */
const CHANGES: Record<string, { mayChangeNothing?: true; of: (call: Call) => Expected }> = {
  addUser: { of: ({ args }) => ({ action: "user.added", user: args.signPub }) },
  revokeUser: {
    mayChangeNothing: true,
    of: ({ args }) => ({ action: "user.revoked", user: args.signPub }),
  },
  restoreUser: {
    mayChangeNothing: true,
    of: ({ args }) => ({ action: "user.restored", user: args.signPub }),
  },
  deleteUser: { of: ({ args }) => ({ action: "user.deleted", user: args.signPub }) },
  createInvite: { of: ({ answer }) => ({ action: "invite.created", invite: answer?.id }) },
  consumeInvite: {
    of: (call) => ({
      // Nobody was told which of both.
      ...!isOpen(call) && { action: call.error === SPENT ? "invite.spent" : "invite.claimed" },
      invite: call.args.id,
      user: call.args.signPub,
    }),
  },
  cancelInvite: {
    mayChangeNothing: true,
    of: ({ args }) => ({ action: "invite.canceled", invite: args.id }),
  },
  createRoom: { of: ({ args }) => ({ action: "room.created", room: args.id }) },
  rekeyRoom: { of: ({ args }) => ({ action: "room.rekeyed", room: args.id }) },
  deleteRoom: { of: ({ args }) => ({ action: "room.deleted", room: args.id }) },
  addMember: {
    of: ({ args }) => ({ action: "member.added", room: args.id, user: args.endpoint }),
  },
  removeMember: {
    of: ({ args }) => ({ action: "member.removed", room: args.id, user: args.endpoint }),
  },
};

/** The claim of somebody who is registered already spends the invite, which is a change. */
const SPENT = "user_exists";

/** Whether the call has made its change for certain, or none because there was nothing to change. */
function isDone(call: Call): boolean {
  return isAnswered(call) || call.op === "consumeInvite" && call.error === SPENT;
}

/** What nodes said of the history when everything was over. */
function ends({ calls }: History): Call[] {
  return calls.filter((it) => it.op === "history" && isAnswered(it));
}

function entriesOf(history: History): HistoryEntry[] {
  return ends(history)[0]?.answer.entries ?? [];
}

/** Each change that was acknowledged has one entry, each that may have been made one at most. */
export function* ownEntries(history: History, looked: Record<string, number>): Iterable<Violation> {
  if (ends(history).length === 0) return;
  const byName = Map.groupBy(entriesOf(history), (it) => it.by);
  const found = { entries: 0, openWithEntry: 0, openWithout: 0 };
  let isNamed = false;
  for (const call of history.calls) {
    const change = CHANGES[call.op];
    if (change === undefined) continue;
    const name = nameOfCall(call.id);
    const own = byName.get(name) ?? [];
    byName.delete(name);
    isNamed ||= call.revision !== undefined;
    const wrong = wrongWith(call, change, own);
    if (wrong !== null) yield { rule: "entry", message: wrong, calls: [call] };
    if (isDone(call)) found.entries += own.length;
    else if (isOpen(call)) own.length > 0 ? found.openWithEntry++ : found.openWithout++;
  }
  // Over HTTP entries name the keys of users.
  if (!isNamed) return;
  Object.assign(looked, found);
  const setup = byName.get(SETUP) ?? [];
  byName.delete(SETUP);
  for (const it of [...setup.slice(1), ...[...byName.values()].flat()]) {
    yield { rule: "entry", message: `No call made entry ${textOf(it)}`, calls: [] };
  }
}

function wrongWith(
  call: Call,
  { mayChangeNothing, of }: typeof CHANGES[string],
  own: HistoryEntry[],
): string | null {
  const { op, revision } = call;
  const [entry] = own;
  const texts = own.map(textOf).join(", ");
  if (own.length > 1) return `${op} has ${own.length} entries: ${texts}`;
  if (entry !== undefined) {
    for (const [field, value] of Object.entries(of(call))) {
      if (value === undefined || entry[field as keyof Expected] === value) continue;
      return `The entry of ${op} has another ${field}: ${texts}`;
    }
  }
  if (isOpen(call)) return null;
  if (!isDone(call)) return own.length === 0 ? null : `${op} was refused and has entry ${texts}`;
  if (revision === undefined) return null;
  if ((entry?.revision ?? null) !== revision) {
    return `${op} was acknowledged with revision ${revision}, and has ${texts || "no entry"}`;
  }
  return entry === undefined && !mayChangeNothing
    ? `${op} was acknowledged without an entry`
    : null;
}

/** Entries are in the order of revisions, and a change that began after another has a later one. */
export function* entryOrder(history: History): Iterable<Violation> {
  let last: HistoryEntry | null = null;
  for (const it of entriesOf(history)) {
    if (last !== null && compareRevisionTexts(last.revision, it.revision) >= 0) {
      const message = `Entry ${textOf(it)} comes after ${textOf(last)}`;
      yield { rule: "entry_order", message, calls: [] };
    }
    last = it;
  }
  const written = history.calls.filter((it) => it.revision && isDone(it));
  const byEnd = written.toSorted((a, b) => a.end! - b.end!);
  let at = 0;
  let newest: Call | null = null;
  for (const call of written.toSorted((a, b) => a.start - b.start)) {
    for (; byEnd[at]!.end! < call.start; at++) {
      const it = byEnd[at]!;
      if (newest === null || compareRevisionTexts(it.revision!, newest.revision!) > 0) newest = it;
    }
    if (newest === null || compareRevisionTexts(call.revision!, newest.revision!) > 0) continue;
    const message =
      `${call.op} got revision ${call.revision}, after ${newest.op} had been acknowledged with ` +
      `${newest.revision}`;
    yield { rule: "entry_order", message, calls: [newest, call] };
  }
}

/** What the entries say, one after another, is what is stored in the end. */
export function* unexplained(
  history: History,
  looked: Record<string, number>,
): Iterable<Violation> {
  const end = history.calls.findLast((it) => it.op === "snapshot" && isAnswered(it));
  if (ends(history).length === 0 || end === undefined) return;
  const told = foldOf(entriesOf(history));
  for (const kind of ["users", "invites", "rooms"] as const) {
    const stored: Record<string, string> = end.answer[kind];
    for (const key of new Set([...told[kind].keys(), ...Object.keys(stored)])) {
      looked.explained = (looked.explained ?? 0) + 1;
      const [expected, found] = [told[kind].get(key) ?? ABSENT, stored[key] ?? ABSENT];
      // A room's subject is not in its entry.
      const isSame = kind === "rooms" ? found.split("/")[0] === expected : found === expected;
      if (isSame) continue;
      const message = `Of ${kind} ${key} the entries say ${expected}, stored is ${found}`;
      yield { rule: "unexplained", message, calls: [] };
    }
  }
}

const ABSENT = "absent";

type States = Record<"users" | "invites" | "rooms", Map<string, string>>;

function foldOf(entries: HistoryEntry[]): States {
  const users = new Map<string, Json>();
  const invites = new Map<string, string>();
  const rooms = new Map<string, string>();
  const become = (user: string | null, status: string) => {
    const it = users.get(user!);
    if (it !== undefined) it.status = status;
  };
  for (const { action, user, room, invite, after } of entries) {
    if (action === "user.added" || action === "invite.claimed") {
      users.set(user!, { status: "active", ...after });
    } else if (action === "user.revoked") become(user, "revoked");
    else if (action === "user.restored") become(user, "active");
    else if (action === "user.deleted") users.delete(user!);
    else if (action === "invite.created") invites.set(invite!, "open");
    else if (action === "invite.canceled") invites.set(invite!, "canceled");
    else if (action === "room.created") rooms.set(room!, "1");
    else if (action === "room.rekeyed") rooms.set(room!, String(after!.epoch));
    else if (action === "room.deleted") rooms.delete(room!);
    if (action === "invite.claimed" || action === "invite.spent") {
      invites.set(invite!, `used/${user}`);
    }
  }
  const states = [...users].map(([key, { status, role, handle }]): [string, string] => {
    return [key, `${status}/${role}/${handle}`];
  });
  return { users: new Map(states), invites, rooms };
}

/** All nodes have the same history with a chain that is right, and all was followed, once and in order. */
export function* historiesDiffer(
  history: History,
  looked: Record<string, number>,
): Iterable<Violation> {
  const all = ends(history);
  const [first] = all;
  if (first === undefined) return;
  const tell = (message: string): Violation => ({ rule: "histories_differ", message, calls: [] });
  const revisions = entriesOf(history).map((it) => it.revision);
  for (const { node, answer } of all) {
    for (const it of answer.problems) yield tell(`log verify on ${node}: ${it}`);
    if (JSON.stringify(answer.entries) !== JSON.stringify(first.answer.entries)) {
      yield tell(`${node} has another history than ${first.node}`);
    }
    if (answer.end.head !== first.answer.end.head) {
      yield tell(`${node} has another head than ${first.node}`);
    }
    if (answer.followed === undefined) continue;
    const { revisions: followed, error } = answer.followed;
    looked.followed = (looked.followed ?? 0) + followed.length;
    if (error !== null) yield tell(`Following on ${node} ended: ${error}`);
    const at = revisions.findIndex((it, i) => it !== followed[i]);
    if (at >= 0 || followed.length > revisions.length) {
      const where = at < 0 ? revisions.length : at;
      yield tell(
        `Entry ${where + 1} followed on ${node} is ${followed[where] ?? "missing"}, stored is ` +
          `${revisions[where] ?? "none"}`,
      );
    }
  }
}

function textOf({ revision, action, by, user, room, invite }: HistoryEntry): string {
  return `${revision} ${action} of ${user ?? room ?? invite} by ${by}`;
}
