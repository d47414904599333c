/**
 * Validates every field. All input passes these functions before it reaches a backend.
 *
 * @module
 */

import { counted } from "./text/counted.ts";
import { isSmallOrderEd25519, isSmallOrderX25519 } from "./checks/small_order.ts";
import { StoreError } from "./errors.ts";
import type {
  AddedMember,
  Handover,
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

/** The limits of all fields, in the unit that the name ends with. */
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
  /** Most hand-overs that are kept with a room. */
  handovers: 8,
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
/** The last of 86 characters has 4 bits that must be zero. */
const SIGNATURE = /^[A-Za-z0-9_-]{85}[AQgw]$/;
const encoder = new TextEncoder();

/** Returns the error for an invalid field. */
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
  if (value instanceof Uint8Array) return counted(value.length, "byte");
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
  // A UTF-16 unit is at most three bytes of UTF-8, so most values need not be encoded.
  if (value.length * 3 <= max) return;
  const bytes = value.length > max ? value.length : encoder.encode(value).length;
  if (bytes > max) {
    throw invalid(field, `${field} must be at most ${max} bytes, found ${show(value)}`);
  }
}

function text(field: string, value: unknown, min: number, max: number): string {
  const content = string(field, value);
  const length = content.length > max * 2 ? content.length : [...content].length;
  if (length < min || length > max) {
    throw invalid(field, `${field} must be ${min} to ${max} characters, found ${show(content)}`);
  }
  if (CONTROL.test(content)) {
    throw invalid(field, `${field} must not contain control characters, found ${show(content)}`);
  }
  return content;
}

/** Returns 32 bytes of hex in lower case, or `null` if the value is something else. */
export function hex64(value: unknown): string | null {
  if (typeof value !== "string") return null;
  if (HEX64.test(value)) return value;
  return HEX64_ANY_CASE.test(value) ? value.toLowerCase() : null;
}

function key(field: string, value: unknown): string {
  const hex = hex64(value);
  if (hex === null) throw invalid(field, `${field} must be 64 hex digits, found ${show(value)}`);
  return hex;
}

/** Returns the token of an invite from the token itself or its link (`…#token`), or `null`. */
export function tokenIn(text: unknown): string | null {
  if (typeof text !== "string") return null;
  const fragment = text.slice(text.lastIndexOf("#") + 1);
  return hex64(fragment.replace(/^(%20|\s)+|(%20|\s)+$/g, ""));
}

/** Does the same, but throws. The message does not show the value: a mistyped token is still a secret. */
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

/** Validates an id that is a hash (of an invite or a blob): 64 hex digits. */
export function hashId(field: string, value: unknown): string {
  return key(field, value);
}

/** Validates an Ed25519 public key. Refuses small-order points, for which anyone can forge signatures. */
export function signPub(field: string, value: unknown): string {
  const hex = key(field, value);
  if (isSmallOrderEd25519(hex)) {
    throw invalid(field, `${field} must not be a small-order point, found ${show(hex)}`);
  }
  return hex;
}

/** Validates an X25519 public key. Refuses small-order points, whose shared secrets are known. */
export function kexPub(field: string, value: unknown): string {
  const hex = key(field, value);
  if (isSmallOrderX25519(hex)) {
    throw invalid(field, `${field} must not be a small-order point, found ${show(hex)}`);
  }
  return hex;
}

/** Validates a room id: Unicode without anything special to NATS, a shell or a log. */
export function roomId(field: string, value: unknown): string {
  const id = string(field, value);
  if (id === "") throw invalid(field, `${field} must not be empty`);
  bytesWithin(field, id, LIMITS.roomIdBytes);
  if (CONTROL.test(id) || FORMAT.test(id) || SPACE.test(id)) {
    throw invalid(
      field,
      `${field} must not contain spaces, control or invisible characters, found ${show(id)}`,
    );
  }
  if (/[*>]/.test(id)) {
    throw invalid(field, `${field} must not contain the wildcards * and >, found ${show(id)}`);
  }
  if (id.startsWith(".") || id.endsWith(".") || id.includes("..")) {
    throw invalid(
      field,
      `${field} must not begin or end with a dot or contain two in a row, found ${show(id)}`,
    );
  }
  return id;
}

/** Validates a NATS subject of the data plane: no wildcards, and none that the server reserves. */
export function subject(field: string, value: unknown): string {
  const name = roomId(field, value);
  bytesWithin(field, name, LIMITS.subjectBytes);
  if (name.startsWith("$") || name === "_INBOX" || name.startsWith("_INBOX.")) {
    throw invalid(field, `${field} must not begin with $ or _INBOX, found ${show(name)}`);
  }
  return name;
}

/** Validates a handle: one line without control characters or surrounding spaces. */
export function handle(field: string, value: unknown): string {
  const name = text(field, value, 1, LIMITS.handleChars);
  if (name.trim() !== name) {
    throw invalid(field, `${field} must not begin or end with a space, found ${show(name)}`);
  }
  return name;
}

/** Validates an invite's note, which may be empty. */
export function note(field: string, value: unknown): string {
  return text(field, value, 0, LIMITS.noteChars);
}

/** Validates the creator of an invite. */
export function createdBy(field: string, value: unknown): string {
  return text(field, value, 1, LIMITS.createdByChars);
}

/** Validates one of a fixed set of words. */
export function oneOf<const T extends string>(
  field: string,
  value: unknown,
  words: readonly T[],
): T {
  if (typeof value === "string" && (words as readonly string[]).includes(value)) return value as T;
  throw invalid(field, `${field} must be ${words.join(" or ")}, found ${show(value)}`);
}

/** Validates a user's role. */
export function userRole(field: string, value: unknown): User["role"] {
  return oneOf(field, value, ["admin", "user"]);
}

/** Validates a boolean. */
export function boolean(field: string, value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw invalid(field, `${field} must be true or false, found ${show(value)}`);
}

/** Validates an integer in a range. */
export function integer(field: string, value: unknown, min: number, max: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  throw invalid(
    field,
    `${field} must be a whole number from ${min} to ${max}, found ${show(value)}`,
  );
}

/** Validates an epoch. */
export function epoch(field: string, value: unknown): number {
  return integer(field, value, 1, LIMITS.epoch);
}

/** Validates and copies the bytes of a sealed key, because the caller may reuse its buffer. */
export function sealedKey(field: string, value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) {
    throw invalid(field, `${field} must be bytes (Uint8Array), found ${show(value)}`);
  }
  if (value.length < 1 || value.length > LIMITS.sealedKeyBytes) {
    throw invalid(
      field,
      `${field} must be 1 to ${LIMITS.sealedKeyBytes} bytes, found ${
        counted(value.length, "byte")
      }`,
    );
  }
  return new Uint8Array(value);
}

/** Validates a time in the exact format of `Date.prototype.toISOString()`. */
export function time(field: string, value: unknown): string {
  const iso = string(field, value);
  const [, day] = TIME.exec(iso) ?? [];
  // Only then is the calendar asked, which costs five times the rest.
  if (day === undefined || (day > "28" && !isOnCalendar(iso))) {
    throw invalid(
      field,
      `${field} must be a time such as 2026-11-20T08:00:00.000Z, found ${show(value)}`,
    );
  }
  return iso;
}

function isOnCalendar(iso: string): boolean {
  const ms = Date.parse(iso);
  return !Number.isNaN(ms) && new Date(ms).toISOString() === iso;
}

/** Validates that a value is an object. */
export function object(field: string, value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw invalid(field, `${field} must be an object, found ${show(value)}`);
}

/** Validates that a value is an array. */
export function array(field: string, value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw invalid(field, `${field} must be an array, found ${show(value)}`);
}

/** Validates the public keys of a new member, whose signing key is called `signPub` or `endpoint`. */
export function newMember(field: string, value: unknown): NewMember {
  const keys = object(field, value);
  const name = keys.signPub === undefined ? "endpoint" : "signPub";
  const endpoint = signPub(`${field}.${name}`, keys[name]);
  if (keys.endpoint !== undefined && signPub(`${field}.endpoint`, keys.endpoint) !== endpoint) {
    throw invalid(`${field}.endpoint`, `${field}.endpoint must equal ${field}.signPub`);
  }
  return { endpoint, kexPub: kexPub(`${field}.kexPub`, keys.kexPub) };
}

/** Validates a new member: its public keys, and `accepted`, which defaults to `true`. */
export function addedMember(field: string, value: unknown): Required<AddedMember> {
  const accepted = boolean(`${field}.accepted`, object(field, value).accepted ?? true);
  return { ...newMember(field, value), accepted };
}

/** Validates sealed keys, at most one for each endpoint. */
export function keysFor(field: string, value: unknown): KeyFor[] {
  const seen = new Set<string>();
  return array(field, value).map((entry, i) => {
    const name = `${field}[${i}]`;
    const given = object(name, entry);
    const endpoint = signPub(`${name}.endpoint`, given.endpoint);
    if (seen.has(endpoint)) {
      throw invalid(`${name}.endpoint`, `${field} contains ${endpoint} twice`);
    }
    seen.add(endpoint);
    return { endpoint, sealedKey: sealedKey(`${name}.sealedKey`, given.sealedKey) };
  });
}

/** Validates an owner's statement that another member owns the room. The signature is not verified. */
export function handover(field: string, value: unknown): Handover {
  const given = object(field, value);
  const from = signPub(`${field}.from`, given.from);
  const to = signPub(`${field}.to`, given.to);
  if (from === to) throw invalid(`${field}.to`, `${field}.to must be another member`);
  const { signature } = given;
  if (typeof signature !== "string" || !SIGNATURE.test(signature)) {
    throw invalid(`${field}.signature`, `${field}.signature must be 64 bytes in base64url`);
  }
  return { from, to, epoch: epoch(`${field}.epoch`, given.epoch), signature };
}

/** Validates the hand-overs of a room: few, each at a later epoch than the one before. */
function handovers(value: unknown): Handover[] {
  const all = array("handovers", value).map((it, i) => handover(`handovers[${i}]`, it));
  const isLater = all.every((it, i) => i === 0 || it.epoch > all[i - 1]!.epoch);
  if (all.length > 0 && all.length <= LIMITS.handovers && isLater) return all;
  throw invalid(
    "handovers",
    `handovers must be 1 to ${LIMITS.handovers} statements in the order of their epochs`,
  );
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
    ...it.handovers !== undefined && { handovers: handovers(it.handovers) },
  }),
  members: (it): Member => {
    const endpoint = signPub("endpoint", it.endpoint);
    if (signPub("signPub", it.signPub) !== endpoint) {
      throw invalid("signPub", `signPub must equal endpoint, found ${show(it.signPub)}`);
    }
    const role = oneOf("role", it.role, ["owner", "member"]);
    // Records of version 0.1 do not have it: every membership was accepted.
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
      ...it.invitedTo !== undefined && { invitedTo: roomId("invitedTo", it.invitedTo) },
    };
  },
  invites: (it): Invite => ({
    id: hashId("id", it.id),
    createdBy: createdBy("createdBy", it.createdBy),
    role: userRole("role", it.role),
    note: note("note", it.note),
    createdAt: time("createdAt", it.createdAt),
    // Not `time`, because an expiry that cannot be parsed is valid (it counts as expired).
    expiresAt: text("expiresAt", it.expiresAt, 0, 64),
    usedAt: nullable(it.usedAt, (v) => time("usedAt", v)),
    usedBy: nullable(it.usedBy, (v) => signPub("usedBy", v)),
    canceledAt: nullable(it.canceledAt, (v) => time("canceledAt", v)),
    ...it.room !== undefined && { room: roomId("room", it.room) },
  }),
};

/** Validates a record from outside, such as a snapshot, and converts its keys to lower case. */
export function record(kind: Kind, value: unknown): StoreRecord {
  if (!Object.hasOwn(RECORDS, kind)) throw invalid("kind", `No kind of record ${show(kind)}`);
  return { kind, record: RECORDS[kind](object(kind, value)) } as StoreRecord;
}

/** Validates a stored record, whose keys must be in lower case. */
export function storedRecord(kind: Kind, value: unknown): StoreRecord {
  const valid = record(kind, value);
  const checked = valid.record as unknown as Record<string, unknown>;
  const stored = value as Record<string, unknown>;
  for (const field in checked) {
    if (typeof stored[field] === "string" && stored[field] !== checked[field]) {
      throw invalid(field, `${field} must be lower-case hex, found ${show(stored[field])}`);
    }
  }
  return valid;
}

/** Validates that options are an object, or omitted, and have no unknown names. */
export function options(
  field: string,
  value: unknown,
  known: readonly string[],
): Record<string, unknown> {
  const given = object(field, value ?? {});
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) {
      throw invalid(name, `${field} has no option ${show(name)}, only ${known.join(", ")}`);
    }
  }
  return given;
}
