/**
 * The bucket's values: JSON with a version field `v`, without the parts that the key holds.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { StoreError } from "../../core/errors.ts";
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

/** The version of every value written today. */
export const VALUE_VERSION = 1;

/** The value of an entry in the index by endpoint: like the member's, it says when it is only an offer. */
export function encodeIndex({ accepted }: Pick<Member, "accepted">): string {
  return JSON.stringify({ v: VALUE_VERSION, ...offerOnly(accepted) });
}

/** `accepted` is written only where it is false, so that what version 0.1 wrote stays as it is. */
function offerOnly(accepted: boolean): { accepted?: false } {
  return accepted ? {} : { accepted };
}

/**
 * A change of a room that takes more than one batch and has not been committed. With `create` and
 * `delete` the room is not there for readers; with `rekey` sealed keys ahead of its epoch are not.
 */
export interface Pending {
  /** What is under way. */
  op: "create" | "delete" | "rekey";
}

/** A room as stored. */
export interface StoredRoom {
  /** The room. */
  room: Room;
  /** Set while a large change is under way. */
  pending: Pending | null;
}

/** Whether readers see the room at all. */
export function isVisible(it: StoredRoom): boolean {
  return it.pending === null || it.pending.op === "rekey";
}

/** A room's value. */
export function encodeRoom(it: Room, pending: Pending | null = null): string {
  return JSON.stringify({
    v: VALUE_VERSION,
    subject: it.subject,
    encrypted: it.encrypted,
    owner: it.owner,
    epoch: it.epoch,
    createdAt: it.createdAt,
    ...(pending === null ? {} : { pending }),
  });
}

/** A member's value. */
export function encodeMember(it: Member): string {
  return JSON.stringify({
    v: VALUE_VERSION,
    role: it.role,
    kexPub: it.kexPub,
    joinedAt: it.joinedAt,
    ...offerOnly(it.accepted),
  });
}

/** A sealed key's value. */
export function encodeSealedKey(it: SealedKey): string {
  const bytes = it.sealedKey;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return JSON.stringify({
    v: VALUE_VERSION,
    sealedKey: view.toString("base64url"),
    createdAt: it.createdAt,
  });
}

/** A user's value. */
export function encodeUser(it: User): string {
  return JSON.stringify({
    v: VALUE_VERSION,
    kexPub: it.kexPub,
    handle: it.handle,
    role: it.role,
    status: it.status,
    createdAt: it.createdAt,
    revokedAt: it.revokedAt,
  });
}

/** The value of an entry in the index of admins. */
export function encodeAdmin(): string {
  return JSON.stringify({ v: VALUE_VERSION });
}

/** An invite's value. */
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
  });
}

/** Keys and values a record takes in the bucket: a member and an active admin have a second key, in an index. */
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

/** The error for a key that is not written like this by this program. */
export function unknownKey(key: string, attempt: string): StoreError {
  return new StoreError(
    "corrupt",
    `${attempt}: key ${
      show(key, 400)
    } is not one this program writes; doctor lists all such records`,
    { field: "key" },
  );
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Parses a value and checks its version. Throws `corrupt` or `unsupported`, naming the key. */
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
      `Value of ${key} has version ${value.v}, this code reads 1`,
      { hint: NEWER },
    );
  }
  throw new StoreError("corrupt", `Value of ${key} has no version`, { field: "v" });
}

/** Reads a room's value. */
export function decodeRoom(key: string, id: string, data: Uint8Array): StoredRoom {
  const { subject, encrypted, owner, epoch, createdAt, pending } = parseValue(key, data);
  return { room: { id, subject, encrypted, owner, epoch, createdAt }, pending: pending ?? null };
}

/** Reads a member's value. */
export function decodeMember(
  key: string,
  roomId: string,
  endpoint: string,
  data: Uint8Array,
): Member {
  const { role, kexPub, joinedAt, accepted = true } = parseValue(key, data);
  return { roomId, endpoint, role, signPub: endpoint, kexPub, joinedAt, accepted };
}

/** Whether an entry in the index by endpoint is of an accepted membership. */
export function isAccepted(key: string, data: Uint8Array): boolean {
  return parseValue(key, data).accepted ?? true;
}

/** Reads a sealed key's value. */
export function decodeSealedKey(
  key: string,
  at: { room: string; epoch: number; endpoint: string },
  data: Uint8Array,
): SealedKey {
  const { sealedKey, createdAt } = parseValue(key, data);
  const bytes = Buffer.from(String(sealedKey), "base64url");
  // Buffer skips what is not base64url, and the bytes would be others than were stored.
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

/** Reads a user's value. */
export function decodeUser(key: string, signPub: string, data: Uint8Array): User {
  const { kexPub, handle, role, status, createdAt, revokedAt } = parseValue(key, data);
  return { signPub, kexPub, handle, role, status, createdAt, revokedAt };
}

/** Reads an invite's value. */
export function decodeInvite(key: string, id: string, data: Uint8Array): Invite {
  const it = parseValue(key, data);
  return {
    id,
    createdBy: it.createdBy,
    role: it.role,
    note: it.note,
    createdAt: it.createdAt,
    expiresAt: it.expiresAt,
    usedAt: it.usedAt,
    usedBy: it.usedBy,
    canceledAt: it.canceledAt,
  };
}

/** The record a key and value stand for; `null` for an index and `meta`. */
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
