/**
 * Random steps over small pools of rooms and peers, so that they meet each other. A step says what
 * to do relative to the state ("the next epoch", "exactly the members"), and becomes a complete
 * {@link Command} when its turn comes.
 *
 * @module
 */

import fc from "fast-check";
import { type Command, digest, endpointOf, type Peer } from "./commands.ts";
import type { Model } from "./model.ts";

/** Where a step has to look to become a command. */
export interface Known {
  /** The state before it. */
  model: Model;
  /** Tokens of the invites made so far. */
  tokens: string[];
}

/** Something to do at some point of a sequence. */
export type Step =
  | { do: "command"; handle: number; make: (known: Known) => Command }
  | { do: "tick"; milliseconds: number }
  | { do: "reopen"; handle: number }
  | { do: "roundTrip"; handle: number };

/** Awkward in their own ways, and alike: a prefix of each other, and one the encoding of another. */
const ROOMS = ["a", "a.b", "a%2Eb", "é/🚀"];
const PEERS = 4;
const DAY = 24 * 3600 * 1000;

/** Mostly one room, so that much happens in it. */
const room = fc.oneof({ weight: 3, arbitrary: fc.constant(ROOMS[0]!) }, {
  weight: 1,
  arbitrary: fc.constantFrom(...ROOMS),
});
const who = fc.nat({ max: PEERS - 1 });
const salt = fc.nat({ max: 1000 });
const limit = fc.constantFrom(1, 2, 3, 1000);
const force = fc.boolean();
const accepted = fc.boolean();
const encrypted = fc.constantFrom(true, true, true, false);
const peers = fc.uniqueArray(who, { maxLength: PEERS });
/** Mostly what fits, sometimes what does not. */
const fitting = fc.oneof({ weight: 4, arbitrary: fc.constant("fitting" as const) }, {
  weight: 1,
  arbitrary: peers,
});
const epochShift = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, {
  weight: 1,
  arbitrary: fc.constantFrom(-1, 1, 2),
});
const nthInvite = fc.nat({ max: 7 });

function membersOf({ model }: Known, id: string): Peer[] {
  const members = model.rooms.get(id)?.members;
  const all = Array.from({ length: PEERS }, (_, i) => i);
  return members === undefined ? [0] : all.filter((it) => members.has(endpointOf(it)));
}

function epochOf({ model }: Known, id: string): number {
  return model.rooms.get(id)?.room.epoch ?? 1;
}

function ownerOf({ model }: Known, id: string): Peer {
  const owner = model.rooms.get(id)?.room.owner;
  return Math.max(0, Array.from({ length: PEERS }, (_, i) => endpointOf(i)).indexOf(owner ?? ""));
}

/** A token of the sequence, or one nobody made. */
function tokenOf({ tokens }: Known, nth: number): string {
  return nth === 0 || tokens.length === 0 ? digest("no token") : tokens[nth % tokens.length]!;
}

/** Makes the command of a step from random parts and the state. */
function command<T extends object>(
  parts: { [K in keyof T]: fc.Arbitrary<T[K]> },
  make: (parts: T, known: Known) => Command,
): fc.Arbitrary<(known: Known) => Command> {
  return fc.record(parts).map((it) =>
    Object.assign((known: Known) => make(it as T, known), {
      // What fast-check prints of a failing sequence.
      [fc.toStringMethod]: () => JSON.stringify(it),
    })
  );
}

const handle = fc.nat({ max: 1 });

function asStep(make: Maker): fc.Arbitrary<Step> {
  return fc.record({ handle, make }).map((it) => ({ do: "command", ...it }));
}

type Maker = fc.Arbitrary<(known: Known) => Command>;

/** How often each kind comes: what makes things more often than what removes them. */
function weighted(makers: Maker[], weights: number[]): fc.Arbitrary<Step> {
  return fc.oneof(...makers.map((it, i) => ({ weight: weights[i] ?? 1, arbitrary: asStep(it) })));
}

const writes = weighted([
  command({ id: room, encrypted, owner: who, members: peers, accepted, keys: fitting, salt }, (
    { keys, ...it },
  ) => {
    const members = it.members.filter((peer) => peer !== it.owner);
    const fit = it.encrypted ? [it.owner, ...members] : [];
    return { op: "createRoom", ...it, members, keys: keys === "fitting" ? fit : keys };
  }),
  command({ id: room }, (it) => ({ op: "deleteRoom", ...it })),
  command({ id: room, who, accepted }, (it) => ({ op: "addMember", ...it })),
  command({ id: room, who, accepted, shift: epochShift, salt }, ({ shift, salt, ...it }, known) => {
    const epoch = Math.max(1, epochOf(known, it.id) + shift);
    return { op: "addMember", ...it, key: { epoch, salt } };
  }),
  command({ id: room, who }, (it) => ({ op: "joinRoom", ...it })),
  command({ id: room, who }, (it) => ({ op: "changeRoomOwner", ...it })),
  command({ id: room, from: fc.option(who, { nil: undefined }), who, shift: epochShift, salt }, (
    { from, shift, ...it },
    known,
  ) => ({
    op: "handOverRoom",
    ...it,
    from: from ?? ownerOf(known, it.id),
    epoch: Math.max(1, epochOf(known, it.id) + shift),
  })),
  command({ id: room, who }, (it) => ({ op: "removeMember", ...it })),
  command({ id: room, shift: epochShift, keys: fitting, salt }, (it, known) => {
    const { id, shift, keys, salt } = it;
    const epoch = Math.max(1, epochOf(known, id) + 1 + shift);
    return {
      op: "rekeyRoom",
      id,
      epoch,
      salt,
      keys: keys === "fitting" ? membersOf(known, id) : keys,
    };
  }),
  command({ id: room, who, shift: epochShift, salt }, ({ shift, ...it }, known) => {
    return { op: "putSealedKey", ...it, epoch: Math.max(1, epochOf(known, it.id) + shift) };
  }),
  command({ who, admin: fc.boolean(), handle: fc.constantFrom("Ada", "Zoë 🚀") }, (it) => ({
    op: "addUser",
    ...it,
  })),
  command({ who, force }, (it) => ({ op: "revokeUser", ...it })),
  command({ who }, (it) => ({ op: "restoreUser", ...it })),
  command({ who, admin: fc.boolean(), force }, (it) => ({ op: "setUserRole", ...it })),
  command({ who, force }, (it) => ({ op: "deleteUser", ...it })),
  command({
    admin: fc.boolean(),
    note: fc.constantFrom("", "for Ada"),
    expiresIn: fc.constantFrom(1000, DAY, 7 * DAY),
    room: fc.option(room, { nil: undefined }),
  }, (it) => ({ op: "createInvite", ...it })),
  command({ nth: nthInvite, who }, ({ nth, who }, known) => {
    return { op: "consumeInvite", token: tokenOf(known, nth), who, handle: "claimer" };
  }),
  command({ nth: nthInvite }, ({ nth }, known) => {
    return { op: "cancelInvite", invite: digest(tokenOf(known, nth)) };
  }),
], [8, 1, 2, 4, 4, 4, 3, 2, 5, 4, 4, 2, 3, 2, 1, 2, 3, 1]);

const reads = weighted([
  command({ id: room }, (it) => ({ op: "getRoom", ...it })),
  command({ limit }, (it) => ({ op: "listRooms", ...it })),
  command({ who, limit }, (it) => ({ op: "listRoomsForEndpoint", ...it })),
  command({ who, limit, accepted }, (it) => ({ op: "listRoomsForEndpoint", ...it })),
  command({ id: room, who }, (it) => ({ op: "getMember", ...it })),
  command({ id: room, limit }, (it) => ({ op: "listMembers", ...it })),
  command({ id: room, limit }, (it) => ({ op: "listWaiting", ...it })),
  command({ id: room, who }, (it) => ({ op: "getSealedKey", ...it })),
  command({ id: room, who, epoch: fc.integer({ min: 1, max: 4 }) }, (it) => ({
    op: "getSealedKey",
    ...it,
  })),
  command({ id: room, limit }, (it) => ({ op: "listSealedKeys", ...it })),
  command({ id: room, limit, epoch: fc.integer({ min: 1, max: 4 }) }, (it) => ({
    op: "listSealedKeys",
    ...it,
  })),
  command({ who }, (it) => ({ op: "getUser", ...it })),
  command({ limit }, (it) => ({ op: "listUsers", ...it })),
  command({ who }, (it) => ({ op: "isAuthorized", ...it })),
  command({}, () => ({ op: "hasAdmin" })),
  command({ nth: nthInvite }, ({ nth }, known) => {
    return { op: "getInvite", invite: digest(tokenOf(known, nth)) };
  }),
  command({ limit }, (it) => ({ op: "listInvites", ...it })),
  command({}, () => ({ op: "records" })),
], []);

/** Sequences of steps. */
export function sequences(): fc.Arbitrary<Step[]> {
  const step = fc.oneof(
    { weight: 60, arbitrary: writes },
    { weight: 35, arbitrary: reads },
    {
      weight: 4,
      arbitrary: fc.constantFrom(1, 1000, 3 * DAY).map((milliseconds): Step => ({
        do: "tick",
        milliseconds,
      })),
    },
    { weight: 1, arbitrary: handle.map((it): Step => ({ do: "reopen", handle: it })) },
    { weight: 1, arbitrary: handle.map((it): Step => ({ do: "roundTrip", handle: it })) },
  );
  return fc.array(step, { minLength: 1, maxLength: 80, size: "max" });
}
