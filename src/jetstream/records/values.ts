/**
 * Encodes and decodes the bucket's values: JSON with a version field `v`, without the parts in the
 * key.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { NEWER } from "../../core/hints.ts";
import type { Invite, Member, Room, SealedKey, StoreRecord, User } from "../../core/model.ts";
import { isActiveAdmin } from "../../core/rules.ts";
import { show } from "../../core/validate.ts";
import {
  adminKey,
  indexKey,
  inviteKey,
  memberKey,
  type ParsedKey,
  roomKey,
  sealedKeyKey,
  userKey,
} from "./keys.ts";

/** The version of all values that are written. */
export const VALUE_VERSION = 1;

/** Encodes an entry in the index by endpoint; like the member's value, it marks an offer. */
export function encodeIndex({ accepted }: Pick<Member, "accepted">): string {
  return JSON.stringify({ v: VALUE_VERSION, ...offerOnly(accepted) });
}

/** Returns `accepted` only if it is false, so that values are the same as in version 0.1. */
function offerOnly(accepted: boolean): { accepted?: false } {
  return accepted ? {} : { accepted };
}

/**
 * An uncommitted change of a room that needs more than one batch. With `create` and `delete`,
 * readers do not see the room; with `rekey`, they do not see sealed keys above its epoch.
 */
export interface Pending {
  /** The change in progress. */
  op: "create" | "delete" | "rekey";
}

/** A room as stored. */
export interface StoredRoom {
  /** The room. */
  room: Room;
  /** Set while a large change is in progress. */
  pending: Pending | null;
}

/** Reports whether readers see the room. */
export function isVisible(it: StoredRoom): boolean {
  return it.pending === null || it.pending.op === "rekey";
}

/** Encodes a room. */
export function encodeRoom(it: Room, pending: Pending | null = null): string {
  return JSON.stringify({
    v: VALUE_VERSION,
    subject: it.subject,
    encrypted: it.encrypted,
    owner: it.owner,
    epoch: it.epoch,
    createdAt: it.createdAt,
    handovers: it.handovers,
    ...(pending === null ? {} : { pending }),
  });
}

/** Encodes a member. */
export function encodeMember(it: Member): string {
  return JSON.stringify({
    v: VALUE_VERSION,
    role: it.role,
    kexPub: it.kexPub,
    joinedAt: it.joinedAt,
    ...offerOnly(it.accepted),
  });
}

/** Encodes a sealed key. */
export function encodeSealedKey(it: SealedKey): string {
  const bytes = it.sealedKey;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return JSON.stringify({
    v: VALUE_VERSION,
    sealedKey: view.toString("base64url"),
    createdAt: it.createdAt,
  });
}

/** Encodes a user. Without a room to wait for, the value is the same as in version 0.1. */
export function encodeUser(it: User): string {
  return JSON.stringify({
    v: VALUE_VERSION,
    kexPub: it.kexPub,
    handle: it.handle,
    role: it.role,
    status: it.status,
    createdAt: it.createdAt,
    revokedAt: it.revokedAt,
    invitedTo: it.invitedTo,
  });
}

/** Encodes an entry in the index of admins. */
export function encodeAdmin(): string {
  return JSON.stringify({ v: VALUE_VERSION });
}

/** Encodes an invite. Without a room, the value is the same as in version 0.1. */
export function encodeInvite(it: Invite): string {
  return JSON.stringify({
    v: VALUE_VERSION,
    createdBy: it.createdBy,
    role: it.role,
    note: it.note,
    createdAt: it.createdAt,
    expiresAt: it.expiresAt,
    usedAt: it.usedAt,
    usedBy: it.usedBy,
    canceledAt: it.canceledAt,
    room: it.room,
  });
}

/** Returns a record's keys and values: members and active admins have a second key, in an index. */
export function entriesOf(it: StoreRecord): [key: string, value: string][] {
  switch (it.kind) {
    case "rooms":
      return [[roomKey(it.record.id), encodeRoom(it.record)]];
    case "members": {
      const { roomId, endpoint } = it.record;
      return [
        [memberKey(roomId, endpoint), encodeMember(it.record)],
        [indexKey(endpoint, roomId), encodeIndex(it.record)],
      ];
    }
    case "room_keys": {
      const { roomId, epoch, endpoint } = it.record;
      return [[sealedKeyKey(roomId, epoch, endpoint), encodeSealedKey(it.record)]];
    }
    case "users":
      return [
        [userKey(it.record.signPub), encodeUser(it.record)],
        ...adminEntries(it.record),
      ];
    case "invites":
      return [[inviteKey(it.record.id), encodeInvite(it.record)]];
  }
}

function adminEntries(user: User): [key: string, value: string][] {
  return isActiveAdmin(user) ? [[adminKey(user.signPub), encodeAdmin()]] : [];
}

/** Creates the error for a key that this program does not write. */
export function unknownKey(key: string, attempt: string): StoreError {
  return new StoreError(
    "corrupt",
    `${attempt}: key ${show(key, 400)} is not a key of this program`,
    { field: "key", hint: "run membershipd doctor to list all such records" },
  );
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Parses a value and checks its version.
 *
 * @throws {StoreError} corrupt: the value is not JSON or has no version
 * @throws {StoreError} unsupported: the value has a newer version
 */
// deno-lint-ignore no-explicit-any
export function parseValue(key: string, data: Uint8Array): any {
  // deno-lint-ignore no-explicit-any
  let value: any;
  try {
    value = JSON.parse(decoder.decode(data));
  } catch (cause) {
    throw new StoreError("corrupt", `Value of ${key} is not JSON`, { cause });
  }
  if (value?.v === VALUE_VERSION) return value;
  if (Number.isInteger(value?.v) && value.v > VALUE_VERSION) {
    throw new StoreError(
      "unsupported",
      `Value of ${key} has version ${value.v}, supported is ${VALUE_VERSION}`,
      { hint: NEWER },
    );
  }
  throw new StoreError("corrupt", `Value of ${key} has no version`, { field: "v" });
}

/** Decodes a record; one that another program wrote invalidly counts as none. */
export function readable<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch (error) {
    if (isStoreError(error, "corrupt")) return null;
    throw error;
  }
}

/** Decodes a room. */
export function decodeRoom(key: string, id: string, data: Uint8Array): StoredRoom {
  const value = parseValue(key, data);
  const { subject, encrypted, owner, epoch, createdAt, handovers, pending = null } = value;
  const room = { id, subject, encrypted, owner, epoch, createdAt };
  return { room: handovers === undefined ? room : { ...room, handovers }, pending };
}

/** Decodes a member. */
export function decodeMember(
  key: string,
  roomId: string,
  endpoint: string,
  data: Uint8Array,
): Member {
  const { role, kexPub, joinedAt, accepted = true } = parseValue(key, data);
  return { roomId, endpoint, role, signPub: endpoint, kexPub, joinedAt, accepted };
}

/** Reports whether an entry in the index by endpoint belongs to an accepted membership. */
export function isAccepted(key: string, data: Uint8Array): boolean {
  return parseValue(key, data).accepted ?? true;
}

/** Decodes a sealed key. */
export function decodeSealedKey(
  key: string,
  at: { room: string; epoch: number; endpoint: string },
  data: Uint8Array,
): SealedKey {
  const { sealedKey, createdAt } = parseValue(key, data);
  const bytes = Buffer.from(String(sealedKey), "base64url");
  // Buffer ignores invalid characters, which would result in other bytes than were stored.
  if (bytes.toString("base64url") !== sealedKey) {
    const message = `Value of ${key} has a sealedKey that is not base64url`;
    throw new StoreError("corrupt", message, { field: "sealedKey" });
  }
  return {
    roomId: at.room,
    epoch: at.epoch,
    endpoint: at.endpoint,
    sealedKey: new Uint8Array(bytes),
    createdAt,
  };
}

/** Decodes a user. */
export function decodeUser(key: string, signPub: string, data: Uint8Array): User {
  const value = parseValue(key, data);
  const { kexPub, handle, role, status, createdAt, revokedAt, invitedTo } = value;
  const user = { signPub, kexPub, handle, role, status, createdAt, revokedAt };
  return invitedTo === undefined ? user : { ...user, invitedTo };
}

/** Decodes an invite. */
export function decodeInvite(key: string, id: string, data: Uint8Array): Invite {
  const invite = parseValue(key, data);
  return {
    id,
    createdBy: invite.createdBy,
    role: invite.role,
    note: invite.note,
    createdAt: invite.createdAt,
    expiresAt: invite.expiresAt,
    usedAt: invite.usedAt,
    usedBy: invite.usedBy,
    canceledAt: invite.canceledAt,
    ...invite.room !== undefined && { room: invite.room },
  };
}

/** Decodes the record of a key and value; returns `null` for an index and `meta`. */
export function decodeRecord(
  key: string,
  parsed: ParsedKey,
  data: Uint8Array,
): StoreRecord | null {
  switch (parsed.space) {
    case "rooms":
      return { kind: "rooms", record: decodeRoom(key, parsed.id, data).room };
    case "members":
      return {
        kind: "members",
        record: decodeMember(key, parsed.room, parsed.endpoint, data),
      };
    case "room_keys":
      return { kind: "room_keys", record: decodeSealedKey(key, parsed, data) };
    case "users":
      return { kind: "users", record: decodeUser(key, parsed.signPub, data) };
    case "invites":
      return { kind: "invites", record: decodeInvite(key, parsed.id, data) };
    default:
      return null;
  }
}
