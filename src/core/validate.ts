/**
 * Every field's limit, written once. Nothing reaches a backend without passing through here.
 *
 * @module
 */

import { isSmallOrderEd25519, isSmallOrderX25519 } from "./checks/small_order.ts";
import { StoreError } from "./errors.ts";
import type {
  AddedMember,
  Invite,
  KeyFor,
  Kind,
  Member,
  NewMember,
  RecordOf,
  Room,
  SealedKey,
  StoreRecord,
  User,
} from "./model.ts";

/** The limits of every field, in the unit the name says. */
export const LIMITS = {
  /** UTF-8 bytes of a room id. */
  roomIdBytes: 256,
  /** UTF-8 bytes of a room subject. */
  subjectBytes: 256,
  /** Characters (code points) of a handle. */
  handleChars: 64,
  /** Characters (code points) of an invite's note. */
  noteChars: 500,
  /** Characters (code points) of an invite's `createdBy`. */
  createdByChars: 128,
  /** Bytes of a sealed key. */
  sealedKeyBytes: 4096,
  /** Highest epoch. */
  epoch: 2 ** 31 - 1,
  /** Default lifetime of an invite, milliseconds. */
  inviteDefaultMs: 7 * 24 * 3600 * 1000,
  /** Maximum lifetime of an invite, milliseconds. */
  inviteMaxMs: 366 * 24 * 3600 * 1000,
  /** Default items per page. */
  pageDefault: 1000,
  /** Maximum items per page. */
  pageMax: 10_000,
} as const;

const HEX64 = /^[0-9a-f]{64}$/;
const HEX64_ANY_CASE = /^[0-9a-fA-F]{64}$/;
const TIME =
  /^\d{4}-(?:0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const FORMAT = /\p{Cf}/u;
const SPACE = /\s/;
const encoder = new TextEncoder();

/** The error for a value that breaks a limit. */
export function invalid(field: string, message: string): StoreError {
  return new StoreError("invalid", message, { field });
}

/** Formats a rejected value for a message: short, on one line, quotes and control characters escaped. */
export function show(value: unknown, max = 60): string {
  if (typeof value === "string") {
    const text = JSON.stringify(value.length > max ? value.slice(0, max) : value).replace(
      /[\u007f-\u009f\u2028\u2029]/g,
      (it) => "\\u" + it.charCodeAt(0).toString(16).padStart(4, "0"),
    );
    return value.length > max ? `${text}… (${value.length} characters)` : text;
  }
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (value === null || value === undefined || typeof value !== "object") return String(value);
  return Array.isArray(value) ? "an array" : "an object";
}

function string(field: string, value: unknown): string {
  if (typeof value !== "string") {
    throw invalid(field, `${field} must be a string, found ${show(value)}`);
  }
  if (!value.isWellFormed()) {
    throw invalid(field, `${field} must be well-formed Unicode, found a lone surrogate`);
  }
  return value;
}

function bytesWithin(field: string, value: string, max: number): void {
  // A UTF-16 unit is at most three bytes of UTF-8, so most values need no encoding to be judged.
  if (value.length * 3 <= max) return;
  const bytes = value.length > max ? value.length : encoder.encode(value).length;
  if (bytes > max) {
    throw invalid(field, `${field} must be at most ${max} bytes, found ${show(value)}`);
  }
}

function text(field: string, value: unknown, min: number, max: number): string {
  const it = string(field, value);
  const length = it.length > max * 2 ? it.length : [...it].length;
  if (length < min || length > max) {
    throw invalid(field, `${field} must be ${min} to ${max} characters, found ${show(it)}`);
  }
  if (CONTROL.test(it)) {
    throw invalid(field, `${field} must not hold control characters, found ${show(it)}`);
  }
  return it;
}

/** 32 bytes in hex of either case, returned in lower case; `null` when it is not that. */
export function hex64(value: unknown): string | null {
  if (typeof value !== "string") return null;
  if (HEX64.test(value)) return value;
  return HEX64_ANY_CASE.test(value) ? value.toLowerCase() : null;
}

function key(field: string, value: unknown): string {
  const it = hex64(value);
  if (it === null) throw invalid(field, `${field} must be 64 hex digits, found ${show(value)}`);
  return it;
}

/** The token of an invite, by itself or at the end of its link (`…#token`); `null` when it is neither. */
export function tokenIn(text: unknown): string | null {
  if (typeof text !== "string") return null;
  const fragment = text.slice(text.lastIndexOf("#") + 1);
  return hex64(fragment.replace(/^(%20|\s)+|(%20|\s)+$/g, ""));
}

/** The token of an invite, or of its link. The message does not show it: a token with a typing error is nearly one. */
export function inviteToken(field: string, value: unknown): string {
  const token = tokenIn(value);
  if (token === null) {
    throw invalid(
      field,
      `${field} must be 64 hex digits, or a link that ends in # and 64 hex digits`,
    );
  }
  return token;
}

/** An id made by hashing (an invite's), 64 hex digits. */
export function hashId(field: string, value: unknown): string {
  return key(field, value);
}

/** An Ed25519 public key; refuses small-order points, for which anyone can forge signatures. */
export function signPub(field: string, value: unknown): string {
  const it = key(field, value);
  if (isSmallOrderEd25519(it)) {
    throw invalid(field, `${field} must not be a small-order point, found ${show(it)}`);
  }
  return it;
}

/** An X25519 public key; refuses small-order points, whose shared secrets are known to anyone. */
export function kexPub(field: string, value: unknown): string {
  const it = key(field, value);
  if (isSmallOrderX25519(it)) {
    throw invalid(field, `${field} must not be a small-order point, found ${show(it)}`);
  }
  return it;
}

/**
 * A room id: free Unicode, but nothing that NATS, a shell or a log line would read as more than a
 * name.
 */
export function roomId(field: string, value: unknown): string {
  const it = string(field, value);
  if (it === "") throw invalid(field, `${field} must not be empty`);
  bytesWithin(field, it, LIMITS.roomIdBytes);
  if (CONTROL.test(it) || FORMAT.test(it) || SPACE.test(it)) {
    throw invalid(
      field,
      `${field} must not hold spaces, control or invisible characters, found ${show(it)}`,
    );
  }
  if (/[*>]/.test(it)) {
    throw invalid(field, `${field} must not hold the wildcards * and >, found ${show(it)}`);
  }
  if (it.startsWith(".") || it.endsWith(".") || it.includes("..")) {
    throw invalid(
      field,
      `${field} must not begin or end with a dot or hold two in a row, found ${show(it)}`,
    );
  }
  return it;
}

/** A concrete NATS subject that belongs to the data plane: no wildcards, nothing of the server's own. */
export function subject(field: string, value: unknown): string {
  const it = roomId(field, value);
  bytesWithin(field, it, LIMITS.subjectBytes);
  if (it.startsWith("$") || it === "_INBOX" || it.startsWith("_INBOX.")) {
    throw invalid(field, `${field} must not begin with $ or _INBOX, found ${show(it)}`);
  }
  return it;
}

/** A handle: one line, no control characters, not only spaces. */
export function handle(field: string, value: unknown): string {
  const it = text(field, value, 1, LIMITS.handleChars);
  if (it.trim() !== it) {
    throw invalid(field, `${field} must not begin or end with a space, found ${show(it)}`);
  }
  return it;
}

/** An invite's note; may be empty. */
export function note(field: string, value: unknown): string {
  return text(field, value, 0, LIMITS.noteChars);
}

/** Who made an invite. */
export function createdBy(field: string, value: unknown): string {
  return text(field, value, 1, LIMITS.createdByChars);
}

/** One of a fixed set of words. */
export function oneOf<const T extends string>(
  field: string,
  value: unknown,
  words: readonly T[],
): T {
  if (typeof value === "string" && (words as readonly string[]).includes(value)) return value as T;
  throw invalid(field, `${field} must be ${words.join(" or ")}, found ${show(value)}`);
}

/** `admin` or `user`. */
export function userRole(field: string, value: unknown): User["role"] {
  return oneOf(field, value, ["admin", "user"]);
}

/** A boolean. */
export function boolean(field: string, value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw invalid(field, `${field} must be true or false, found ${show(value)}`);
}

/** A whole number between two bounds. */
export function integer(field: string, value: unknown, min: number, max: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  throw invalid(
    field,
    `${field} must be a whole number from ${min} to ${max}, found ${show(value)}`,
  );
}

/** The number of a room key. */
export function epoch(field: string, value: unknown): number {
  return integer(field, value, 1, LIMITS.epoch);
}

/** Opaque bytes of a sealed key, copied: the caller may reuse its buffer. */
export function sealedKey(field: string, value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) {
    throw invalid(field, `${field} must be bytes (Uint8Array), found ${show(value)}`);
  }
  if (value.length < 1 || value.length > LIMITS.sealedKeyBytes) {
    throw invalid(
      field,
      `${field} must be 1 to ${LIMITS.sealedKeyBytes} bytes, found ${value.length} bytes`,
    );
  }
  return new Uint8Array(value);
}

/** A time exactly as `Date.prototype.toISOString()` writes it. */
export function time(field: string, value: unknown): string {
  const it = string(field, value);
  const [, day] = TIME.exec(it) ?? [];
  // Whether a month has a 29th, 30th or 31st, the calendar knows; asking it costs five times the rest.
  if (day === undefined || (day > "28" && !isOnCalendar(it))) {
    throw invalid(
      field,
      `${field} must be a time such as 2026-11-20T08:00:00.000Z, found ${show(value)}`,
    );
  }
  return it;
}

function isOnCalendar(it: string): boolean {
  const ms = Date.parse(it);
  return !Number.isNaN(ms) && new Date(ms).toISOString() === it;
}

/** A plain object, so that reading its fields cannot fail in a confusing way. */
export function object(field: string, value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw invalid(field, `${field} must be an object, found ${show(value)}`);
}

/** An array. */
export function array(field: string, value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw invalid(field, `${field} must be an array, found ${show(value)}`);
}

/** The public keys of a new member: its signing key is called `signPub`, or `endpoint` as in records. */
export function newMember(field: string, value: unknown): NewMember {
  const keys = object(field, value);
  const name = keys.signPub === undefined ? "endpoint" : "signPub";
  const endpoint = signPub(`${field}.${name}`, keys[name]);
  if (keys.endpoint !== undefined && signPub(`${field}.endpoint`, keys.endpoint) !== endpoint) {
    throw invalid(`${field}.endpoint`, `${field}.endpoint must equal ${field}.signPub`);
  }
  return { endpoint, kexPub: kexPub(`${field}.kexPub`, keys.kexPub) };
}

/** The keys of a new member, and whether it has accepted: yes unless told otherwise. */
export function addedMember(field: string, value: unknown): Required<AddedMember> {
  const accepted = boolean(`${field}.accepted`, object(field, value).accepted ?? true);
  return { ...newMember(field, value), accepted };
}

/** Sealed keys, one an endpoint. */
export function keysFor(field: string, value: unknown): KeyFor[] {
  const seen = new Set<string>();
  return array(field, value).map((entry, i) => {
    const it = object(`${field}[${i}]`, entry);
    const endpoint = signPub(`${field}[${i}].endpoint`, it.endpoint);
    if (seen.has(endpoint)) {
      throw invalid(`${field}[${i}].endpoint`, `${field} names ${endpoint} twice`);
    }
    seen.add(endpoint);
    return { endpoint, sealedKey: sealedKey(`${field}[${i}].sealedKey`, it.sealedKey) };
  });
}

const nullable = <T>(value: unknown, check: (value: unknown) => T): T | null =>
  value === null ? null : check(value);

const RECORDS: { [K in Kind]: (value: Record<string, unknown>) => RecordOf[K] } = {
  rooms: (it): Room => ({
    id: roomId("id", it.id),
    subject: subject("subject", it.subject),
    encrypted: boolean("encrypted", it.encrypted),
    owner: signPub("owner", it.owner),
    epoch: epoch("epoch", it.epoch),
    createdAt: time("createdAt", it.createdAt),
  }),
  members: (it): Member => {
    const endpoint = signPub("endpoint", it.endpoint);
    if (signPub("signPub", it.signPub) !== endpoint) {
      throw invalid("signPub", `signPub must equal endpoint, found ${show(it.signPub)}`);
    }
    const role = oneOf("role", it.role, ["owner", "member"]);
    // Records of version 0.1 do not have it: nobody was asked then.
    const accepted = boolean("accepted", it.accepted ?? true);
    if (role === "owner" && !accepted) {
      throw invalid("accepted", "accepted of a room's owner must be true, found false");
    }
    return {
      roomId: roomId("roomId", it.roomId),
      endpoint,
      role,
      signPub: endpoint,
      kexPub: kexPub("kexPub", it.kexPub),
      joinedAt: time("joinedAt", it.joinedAt),
      accepted,
    };
  },
  room_keys: (it): SealedKey => ({
    roomId: roomId("roomId", it.roomId),
    epoch: epoch("epoch", it.epoch),
    endpoint: signPub("endpoint", it.endpoint),
    sealedKey: sealedKey("sealedKey", it.sealedKey),
    createdAt: time("createdAt", it.createdAt),
  }),
  users: (it): User => {
    const status = oneOf("status", it.status, ["active", "revoked"]);
    const revokedAt = nullable(it.revokedAt, (v) => time("revokedAt", v));
    if ((status === "revoked") !== (revokedAt !== null)) {
      throw invalid("revokedAt", `revokedAt of a user who is ${status} is ${show(it.revokedAt)}`);
    }
    return {
      signPub: signPub("signPub", it.signPub),
      kexPub: kexPub("kexPub", it.kexPub),
      handle: handle("handle", it.handle),
      role: userRole("role", it.role),
      status,
      createdAt: time("createdAt", it.createdAt),
      revokedAt,
    };
  },
  invites: (it): Invite => ({
    id: hashId("id", it.id),
    createdBy: createdBy("createdBy", it.createdBy),
    role: userRole("role", it.role),
    note: note("note", it.note),
    createdAt: time("createdAt", it.createdAt),
    // Not `time`: an expiry that cannot be read is data too (it counts as expired).
    expiresAt: text("expiresAt", it.expiresAt, 0, 64),
    usedAt: nullable(it.usedAt, (v) => time("usedAt", v)),
    usedBy: nullable(it.usedBy, (v) => signPub("usedBy", v)),
    canceledAt: nullable(it.canceledAt, (v) => time("canceledAt", v)),
  }),
};

/** A whole record from outside (a snapshot), each field within its limits. */
export function record(kind: Kind, value: unknown): StoreRecord {
  if (!Object.hasOwn(RECORDS, kind)) throw invalid("kind", `No kind of record ${show(kind)}`);
  return { kind, record: RECORDS[kind](object(kind, value)) } as StoreRecord;
}

/** A record as a backend stored it, where {@link record} accepts hex of either case and this does not. */
export function storedRecord(kind: Kind, value: unknown): StoreRecord {
  const it = record(kind, value);
  const checked = it.record as unknown as Record<string, unknown>;
  const stored = value as Record<string, unknown>;
  for (const field in checked) {
    if (typeof stored[field] === "string" && stored[field] !== checked[field]) {
      throw invalid(field, `${field} must be lower-case hex, found ${show(stored[field])}`);
    }
  }
  return it;
}

/** The options of a call: an object, or nothing, and nothing in it that the call does not know. */
export function options(
  field: string,
  value: unknown,
  known: readonly string[],
): Record<string, unknown> {
  const it = object(field, value ?? {});
  for (const name of Object.keys(it)) {
    if (!known.includes(name)) {
      throw invalid(name, `${field} has no option ${show(name)}, only ${known.join(", ")}`);
    }
  }
  return it;
}
