/**
 * Encodes and decodes the bucket's keys. Each part of a record's key is one token; an ID that is
 * not a plain token is written as `=` and its UTF-8 bytes in base64url, which no plain token begins
 * with.
 *
 * | key space | key |
 * |---|---|
 * | rooms | `rooms.<id>` |
 * | members | `members.<room>.<endpoint>` |
 * | rooms_by_member | `rooms_by_member.<endpoint>.<room>`, an index of `members` |
 * | room_keys | `room_keys.<room>.<epoch>.<endpoint>` |
 * | users | `users.<signPub>` |
 * | admins | `admins.<signPub>`, an index of the active admins among `users` |
 * | invites | `invites.<id>` |
 * | meta | `meta.*`, internal |
 * | history | `@<txn>`, which is no key: a subject of its own, outside the bucket's keys |
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { compareText } from "../../core/order.ts";

const PLAIN = /^[-/_0-9A-Za-z]+$/;

/** Encodes an ID as a token of a key. */
export function encodeToken(id: string): string {
  return PLAIN.test(id) ? id : "=" + Buffer.from(id, "utf8").toString("base64url");
}

/** Decodes a token that {@link encodeToken} encoded. */
export function decodeToken(token: string): string {
  return token.startsWith("=") ? Buffer.from(token.slice(1), "base64url").toString("utf8") : token;
}

/** Key of a room. */
export const roomKey = (id: string): string => `rooms.${encodeToken(id)}`;
/** Key of a member. */
export const memberKey = (room: string, endpoint: string): string =>
  `members.${encodeToken(room)}.${endpoint}`;
/** Key of a member's entry in the index by endpoint. */
export const indexKey = (endpoint: string, room: string): string =>
  `rooms_by_member.${endpoint}.${encodeToken(room)}`;
/** Key of a sealed key. */
export const sealedKeyKey = (room: string, epoch: number, endpoint: string): string =>
  `room_keys.${encodeToken(room)}.${epoch}.${endpoint}`;
/** Key of a user. */
export const userKey = (signPub: string): string => `users.${signPub}`;
/** Key of an active admin's entry in the index of admins. */
export const adminKey = (signPub: string): string => `admins.${signPub}`;
/** Key of an invite. */
export const inviteKey = (id: string): string => `invites.${id}`;
/** Key of the marker of a move or an import. */
export const MARKER_KEY = "meta.migration";
/** Key of the fence, which is written only to confirm that the leader still has a majority. */
export const FENCE_KEY = "meta.fence";

/** Pseudo-key of a transaction's history entry: no key of a bucket may contain `@`. */
export const historyKey = (txn: string): string => `@${txn}`;
/** Pattern of the pseudo-keys of all history entries. */
export const HISTORY_PATTERN = "@*";
/** Reports whether a key is that of a history entry. */
export const isHistory = (key: string): boolean => key.startsWith("@");

/** Key of the end of what was pruned from the history. */
export const CUT_KEY = "meta.history";
const HEADS = "meta.head-";
/** Pattern of the keys of `meta`. */
export const META_PATTERN = "meta.*";
/** Key of the last head of the history that a node signed. */
export const headKey = (node: string): string => HEADS + encodeToken(node);
/** Reports whether a key is that of a signed head. */
export const isHead = (key: string): boolean => key.startsWith(HEADS);
/** Returns the node of a signed head's key. */
export const nodeOfHead = (key: string): string => decodeToken(key.slice(HEADS.length));

/** Key of the marker that the index of admins is complete. */
export const ADMINS_KEY = "meta.admins";

/**
 * Reports whether a key contains no record and can be written without a change of records: the
 * fence, the index of admins, which is built when it is first needed, and signed heads of the history.
 */
export function isAside(key: string): boolean {
  return key === FENCE_KEY || key === ADMINS_KEY || key.startsWith("admins.") ||
    isHead(key);
}

/** Reports whether a key belongs to an index, which is derived from records under other keys. */
export function isIndex(key: string): boolean {
  return key.startsWith("rooms_by_member.") || key.startsWith("admins.");
}

/** A parsed key. */
export type ParsedKey =
  | { space: "rooms"; id: string }
  | { space: "members"; room: string; endpoint: string }
  | { space: "rooms_by_member"; endpoint: string; room: string }
  | { space: "room_keys"; room: string; epoch: number; endpoint: string }
  | { space: "users"; signPub: string }
  | { space: "admins"; signPub: string }
  | { space: "invites"; id: string }
  | { space: "meta"; name: string }
  | { space: "history"; txn: string };

/** Parses a key; returns `null` if it is not a key of this program. */
export function parseKey(key: string): ParsedKey | null {
  if (isHistory(key)) return { space: "history", txn: key.slice(1) };
  const [space, a, b, c, ...more] = key.split(".");
  if (!a || more.length > 0) return null;
  if (space === "room_keys") {
    const epoch = Number(b);
    return c && /^[1-9]\d{0,9}$/.test(b ?? "")
      ? { space, room: decodeToken(a), epoch, endpoint: c }
      : null;
  }
  if (c !== undefined) return null;
  if (space === "members") return b ? { space, room: decodeToken(a), endpoint: b } : null;
  if (space === "rooms_by_member") return b ? { space, endpoint: a, room: decodeToken(b) } : null;
  if (b !== undefined) return null;
  if (space === "rooms") return { space, id: decodeToken(a) };
  if (space === "users" || space === "admins") return { space, signPub: a };
  if (space === "invites") return { space, id: a };
  if (space === "meta") return { space, name: a };
  return null;
}

/**
 * A key's position in canonical order: kind, text, epoch, text, and 1 for an index entry, which
 * directly follows its member or user.
 */
export type Place = [rank: number, text: string, epoch: number, rest: string, index: number];

/** Returns the position of a key; unknown keys come last. */
export function placeOf(key: string): Place {
  const parsed = parseKey(key);
  switch (parsed?.space) {
    case "rooms":
      return [0, parsed.id, 0, "", 0];
    case "members":
      return [1, parsed.room, 0, parsed.endpoint, 0];
    case "rooms_by_member":
      return [1, parsed.room, 0, parsed.endpoint, 1];
    case "room_keys":
      return [2, parsed.room, parsed.epoch, parsed.endpoint, 0];
    case "users":
      return [3, parsed.signPub, 0, "", 0];
    case "admins":
      return [3, parsed.signPub, 0, "", 1];
    case "invites":
      return [4, parsed.id, 0, "", 0];
    default:
      return [9, key, 0, "", 0];
  }
}

/** Compares two positions. */
export function comparePlaces(a: Place, b: Place): number {
  return a[0] - b[0] || compareText(a[1], b[1]) || a[2] - b[2] || compareText(a[3], b[3]) ||
    a[4] - b[4];
}
