/**
 * Operations as plain data: what the model and a store are both told to do, one after another.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { Handover, KeyFor, NewMember } from "../../src/core/model.ts";

/** A peer by number: its keys follow from it. */
export type Peer = number;

/** An operation that writes, complete and fit to be sent to another process as JSON. */
export type Write =
  | {
    op: "createRoom";
    id: string;
    encrypted: boolean;
    owner: Peer;
    members: Peer[];
    accepted?: boolean;
    keys: Peer[];
    salt: number;
  }
  | { op: "deleteRoom"; id: string }
  | {
    op: "addMember";
    id: string;
    who: Peer;
    accepted?: boolean;
    key?: { epoch: number; salt: number };
  }
  | { op: "joinRoom"; id: string; who: Peer }
  | { op: "changeRoomOwner"; id: string; who: Peer }
  | { op: "handOverRoom"; id: string; from: Peer; who: Peer; epoch: number; salt: number }
  | { op: "removeMember"; id: string; who: Peer }
  | { op: "rekeyRoom"; id: string; epoch: number; keys: Peer[]; salt: number }
  | { op: "putSealedKey"; id: string; who: Peer; epoch: number; salt: number }
  | { op: "addUser"; who: Peer; admin: boolean; handle: string }
  | { op: "revokeUser"; who: Peer; force: boolean }
  | { op: "restoreUser"; who: Peer }
  | { op: "setUserRole"; who: Peer; admin: boolean; force: boolean }
  | { op: "deleteUser"; who: Peer; force: boolean }
  | { op: "createInvite"; admin: boolean; note: string; expiresIn: number; room?: string }
  | { op: "consumeInvite"; token: string; who: Peer; handle: string }
  | { op: "cancelInvite"; invite: string }
  | { op: "replaceAll"; users: Peer[] };

/** An operation that reads. Lists are read to their end by pages of `limit`. */
export type Read =
  | { op: "getRoom"; id: string }
  | { op: "listRooms"; limit: number }
  | { op: "listRoomsForEndpoint"; who: Peer; limit: number; accepted?: boolean }
  | { op: "getMember"; id: string; who: Peer }
  | { op: "listMembers"; id: string; limit: number }
  | { op: "listWaiting"; id: string; limit: number }
  | { op: "getSealedKey"; id: string; who: Peer; epoch?: number }
  | { op: "listSealedKeys"; id: string; epoch?: number; limit: number }
  | { op: "getUser"; who: Peer }
  | { op: "listUsers"; limit: number }
  | { op: "isAuthorized"; who: Peer }
  | { op: "hasAdmin" }
  | { op: "getInvite"; invite: string }
  | { op: "listInvites"; limit: number }
  | { op: "records" };

/** Any operation. */
export type Command = Write | Read;

const digests = new Map<string, string>();

/** A SHA-256 in hex: stands for a random value that the same input always gives again. */
export function digest(text: string): string {
  let it = digests.get(text);
  if (it === undefined) {
    it = createHash("sha256").update(text).digest("hex");
    if (digests.size < 50_000) digests.set(text, it);
  }
  return it;
}

/** The signing key of a peer. */
export function endpointOf(who: Peer): string {
  return digest(`sign ${who}`);
}

/** The exchange key of a peer. */
export function kexOf(who: Peer): string {
  return digest(`kex ${who}`);
}

/** A peer as a new member. */
export function memberOf(who: Peer): NewMember {
  return { endpoint: endpointOf(who), kexPub: kexOf(who) };
}

/** A sealed key of 1 to 64 bytes that follows from who it is for and a salt. */
export function sealedOf(who: Peer, salt: number): Uint8Array {
  const bytes = Buffer.from(digest(`seal ${who} ${salt}`), "hex");
  return new Uint8Array(Buffer.concat([bytes, bytes]).subarray(0, 1 + (bytes[0]! % 64)));
}

/** A statement of one peer that another owns a room, its signature made of a salt. */
export function handoverOf(from: Peer, to: Peer, epoch: number, salt: number): Handover {
  const signature = digest(`hand over ${salt}`).padEnd(86, "A");
  return { from: endpointOf(from), to: endpointOf(to), epoch, signature };
}

/** Sealed keys for several peers. */
export function keysOf(peers: Peer[], salt: number): KeyFor[] {
  return peers.map((who) => ({ endpoint: endpointOf(who), sealedKey: sealedOf(who, salt) }));
}
