/**
 * Users, invites and rooms as they behave when calls come one at a time, and the calls of a history
 * that concern each.
 *
 * @module
 */

import type { StoreRecord } from "../../../../src/core/model.ts";
import { type Call, type History, isAnswered, isOpen, type Json } from "./history.ts";
import type { Operation, SequentialModel } from "./linearizable.ts";

/** A call of a history as a model sees it. */
export interface CallOperation extends Operation {
  call: Call;
}

/** All calls on one object. */
export interface KeyHistory {
  kind: "user" | "invite" | "room";
  key: string;
  operations: CallOperation[];
  model: SequentialModel<string, CallOperation>;
}

const ABSENT = "absent";

/** What a call that was answered leaves as it is: a read, or a refusal. */
function isRead({ call: { op, error }, open }: CallOperation): boolean {
  if (open) return false;
  return READS.has(op) || (error !== undefined && !(op === "consumeInvite" && error === SPENT));
}

/** The claim of somebody who is registered already spends the invite. */
const SPENT = "user_exists";

/** What a refused call leaves as it is, and tells nothing of. */
const SILENT = new Set([
  ...["conflict", "missing_key", "last_admin", "room_owner"],
  // Never sent.
  "unreachable",
  // Over HTTP: who asks was not known, or asked too often.
  ...["unauthenticated", "forbidden", "rate_limited"],
]);

/** A user: status, role and handle. Each adding brings a handle of its own, so that they can be told apart. */
export const userModel: SequentialModel<string, CallOperation> = {
  initial: ABSENT,
  key: (state) => state,
  isRead,
  next(state, { call, open }) {
    const { op, args, error, answer } = call;
    const there = state !== ABSENT;
    const [, role, handle] = state.split("/");
    if (!open && error !== undefined) {
      if (SILENT.has(error)) return state;
      if (error === "user_exists") return there ? state : null;
      if (op === "consumeInvite") return state;
      return error === "not_found" && !there ? state : null;
    }
    switch (op) {
      case "addUser":
      case "consumeInvite":
        return there ? null : userState({ status: "active", ...args });
      case "revokeUser":
      case "restoreUser": {
        if (!there) return null;
        const next = userState({
          status: op === "revokeUser" ? "revoked" : "active",
          role,
          handle,
        });
        return open || userState(answer) === next ? next : null;
      }
      case "deleteUser":
        return there ? ABSENT : null;
      case "getUser":
        return open || userState(answer) === state ? state : null;
      case "snapshot":
        return stateIn(answer, "user", args.key) === state ? state : null;
      case "isAuthorized":
      case "admission":
        // No is always right; yes only for who is active.
        return open || answer !== true || state.startsWith("active/") ? state : null;
      default:
        throw new Error(`Not of users: ${op}`);
    }
  },
  effect: ({ call: { op, args } }) => `${op} ${args.role ?? ""} ${args.handle ?? ""}`,
};

function userState({ status, role, handle }: Json): string {
  return `${status}/${role}/${handle}`;
}

/** How far the time of day may be off, milliseconds. */
const CLOCK_SLACK = 500;

/** An invite: open, used by somebody, or cancelled. */
export function inviteModel(
  wall: number,
  expiresAt: number,
): SequentialModel<string, CallOperation> {
  const isUsed = (state: string) => state.startsWith("used/");
  return {
    initial: ABSENT,
    key: (state) => state,
    isRead,
    next(state, { call, open, start, end }) {
      const { op, args, error, answer } = call;
      const mayBeAlive = wall + start <= expiresAt + CLOCK_SLACK;
      const used = `used/${args.signPub}`;
      if (!open && error !== undefined) {
        switch (error) {
          case SPENT:
            return state === "open" && mayBeAlive ? used : null;
          case "invite_used":
            return isUsed(state) ? state : null;
          case "invite_canceled":
            return state === "canceled" ? state : null;
          case "invite_expired":
            return state === "open" && wall + end >= expiresAt - CLOCK_SLACK ? state : null;
          case "not_found":
            return state === ABSENT ? state : null;
          default:
            return SILENT.has(error) ? state : null;
        }
      }
      switch (op) {
        case "createInvite":
          return state === ABSENT ? "open" : null;
        case "consumeInvite":
          return state === "open" && mayBeAlive ? used : null;
        case "cancelInvite":
          return state === "open" || state === "canceled" ? "canceled" : null;
        case "getInvite":
          return open || inviteState(answer) === state ? state : null;
        case "snapshot":
          return stateIn(answer, "invite", args.key) === state ? state : null;
        default:
          throw new Error(`Not of invites: ${op}`);
      }
    },
    effect: ({ call: { op, args } }) => `${op} ${args.signPub ?? ""}`,
  };
}

function inviteState({ usedBy, canceledAt }: Json): string {
  return usedBy !== null ? `used/${usedBy}` : canceledAt !== null ? "canceled" : "open";
}

/** A room: its epoch and its subject. Each making brings a subject of its own. */
export const roomModel: SequentialModel<string, CallOperation> = {
  initial: ABSENT,
  key: (state) => state,
  isRead,
  next(state, { call, open }) {
    const { op, args, error, answer } = call;
    const there = state !== ABSENT;
    const [epoch, subject] = state.split("/");
    if (!open && error !== undefined) {
      if (SILENT.has(error)) return state;
      if (error === "room_exists") return there ? state : null;
      return error === "not_found" && !there ? state : null;
    }
    switch (op) {
      case "createRoom":
        return there ? null : `1/${args.subject}`;
      case "rekeyRoom": {
        const next = `${args.epoch}/${subject}`;
        if (!there || Number(epoch) !== args.epoch - 1) return null;
        return open || roomState(answer) === next ? next : null;
      }
      case "deleteRoom":
        return there ? ABSENT : null;
      case "getRoom":
        return open || roomState(answer) === state ? state : null;
      case "snapshot":
        return stateIn(answer, "room", args.key) === state ? state : null;
      default:
        throw new Error(`Not of rooms: ${op}`);
    }
  },
  effect: ({ call: { op, args } }) => `${op} ${args.epoch ?? ""} ${args.subject ?? ""}`,
};

function roomState({ epoch, subject }: Json): string {
  return `${epoch}/${subject}`;
}

const READS = new Set([
  ...["getUser", "getInvite", "getRoom", "isAuthorized", "admission", "snapshot"],
]);
const OF_USERS = new Set(
  ["addUser", "consumeInvite", "revokeUser", "restoreUser", "deleteUser", "getUser"],
);
const OF_INVITES = new Set(["createInvite", "consumeInvite", "cancelInvite", "getInvite"]);
const OF_ROOMS = new Set(["createRoom", "rekeyRoom", "deleteRoom", "getRoom"]);

/** Whether a call was the question for access, of HTTP or of the store or to NATS, and the answer was yes. */
export function isYes({ op, answer }: Call): boolean {
  return (op === "isAuthorized" || op === "admission") && answer === true;
}

/** Whether a call may have changed something. */
export function mutates(call: Call, kind: KeyHistory["kind"]): boolean {
  if (READS.has(call.op)) return false;
  if (isOpen(call) || isAnswered(call)) return true;
  return kind === "invite" && call.op === "consumeInvite" && call.error === SPENT;
}

/** What is there after an acknowledged write, as far as the call itself tells. */
export function stateAfter({ op, args, answer }: Call, kind: KeyHistory["kind"]): string {
  switch (op) {
    case "consumeInvite":
      if (kind === "invite") return `used/${args.signPub}`;
      return userState({ status: "active", ...args });
    case "addUser":
      return userState({ status: "active", ...args });
    case "revokeUser":
      return "revoked";
    case "restoreUser":
      return "active";
    case "createInvite":
      return "open";
    case "cancelInvite":
      return "canceled";
    case "createRoom":
      return `1/${args.subject}`;
    case "rekeyRoom":
      return roomState(answer);
    case "deleteUser":
    case "deleteRoom":
      return ABSENT;
    default:
      throw new Error(`No write: ${op}`);
  }
}

/** What a snapshot has of an object. */
export function stateIn(snapshot: Json, kind: KeyHistory["kind"], key: string): string {
  return snapshot[`${kind}s`][key] ?? ABSENT;
}

/** All objects of a store in the form that the checkers compare. */
export function statesOf(records: Iterable<StoreRecord>): {
  users: Record<string, string>;
  invites: Record<string, string>;
  rooms: Record<string, string>;
} {
  const states = { users: {}, invites: {}, rooms: {} } as Record<string, Record<string, string>>;
  for (const { kind, record } of records) {
    if (kind === "users") states.users![record.signPub] = userState(record);
    else if (kind === "invites") states.invites![record.id] = inviteState(record);
    else if (kind === "rooms") states.rooms![record.id] = roomState(record);
  }
  return states as ReturnType<typeof statesOf>;
}

/**
 * The histories of all objects. An authorization may rest on what was so `maxStaleness` before it was
 * asked, so its span begins that much earlier: a yes is right if the user was active at any moment of
 * it. Everything else, refusals included, is held to its own span.
 */
export function keyHistories({ calls, run }: History): KeyHistory[] {
  const all = new Map<string, KeyHistory>();
  const add = (
    kind: KeyHistory["kind"],
    key: string,
    model: () => KeyHistory["model"],
    call: Call,
    staleness = 0,
  ) => {
    const open = isOpen(call);
    // A read that had no answer tells nothing.
    if (open && READS.has(call.op)) return;
    const id = `${kind} ${key}`;
    let history = all.get(id);
    if (history === undefined) all.set(id, history = { kind, key, operations: [], model: model() });
    const { start, end } = call;
    history.operations.push({
      start: start - staleness,
      end: open ? Infinity : end!,
      open,
      call,
    });
  };
  const expiries = new Map<string, number>();
  for (const call of calls) {
    if (call.op === "createInvite" && isAnswered(call)) {
      expiries.set(call.answer.id, Date.parse(call.answer.expiresAt));
    }
  }
  for (const call of calls) {
    const { op, args } = call;
    if (OF_USERS.has(op)) add("user", args.signPub, () => userModel, call);
    if (isYes(call)) {
      add("user", args.signPub, () => userModel, call, run.maxStaleness);
    }
    if (OF_INVITES.has(op)) {
      const id = op === "createInvite" ? call.answer?.id : args.id;
      // One whose making was not answered has an id that nobody knows.
      if (id !== undefined) {
        add("invite", id, () => inviteModel(run.wall, expiries.get(id) ?? Infinity), call);
      }
    }
    if (OF_ROOMS.has(op)) add("room", args.id, () => roomModel, call);
  }
  const ends = calls.filter((it) => it.op === "snapshot" && isAnswered(it));
  for (const history of all.values()) {
    const { kind, key, operations } = history;
    history.operations = merged(operations, ends.map((it) => stateIn(it.answer, kind, key)));
  }
  // The end counts as a read of everything.
  for (const call of ends) {
    for (const { kind, key, model } of all.values()) {
      add(kind, key, () => model, { ...call, args: { key } });
    }
  }
  return [...all.values()];
}

/** The name of what an open call may have made and nobody has seen. */
const UNSEEN = "unseen";

/**
 * Gives open calls whose handle or subject is in no answer one and the same: they have the same effect
 * then, and there are far fewer orders to try.
 */
function merged(operations: CallOperation[], ends: string[]): CallOperation[] {
  const seen = new Set(ends.flatMap((it) => it.split("/")));
  for (const { call: { answer } } of operations) {
    seen.add(answer?.handle).add(answer?.subject);
  }
  return operations.map((it) => {
    const { args } = it.call;
    const name = args.handle ?? args.subject;
    if (!it.open || name === undefined || seen.has(name)) return it;
    const same = args.handle === undefined ? { subject: UNSEEN } : { handle: UNSEEN };
    return { ...it, call: { ...it.call, args: { ...args, ...same } } };
  });
}
