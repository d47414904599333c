/**
 * Schemas of requests and responses: they validate, and `/openapi.json` shows them.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Handover, Invite, Member, Room, SealedKey, User } from "../../core/model.ts";
import * as check from "../../core/validate.ts";
import { LIMITS } from "../../core/validate.ts";
import { ORDERS, ROOM_SORTS, USER_SORTS } from "../../core/store/search.ts";
import {
  by,
  described,
  type JsonSchema,
  list,
  nullable,
  object,
  oneOf,
  optional,
  type Schema,
} from "../pipeline/schema.ts";

const HEX64 = { type: "string", pattern: "^[0-9a-fA-F]{64}$" } as const;

/** An Ed25519 public key. */
export const signPub: Schema<string> = by(check.signPub, {
  ...HEX64,
  description:
    "Ed25519 public key, hex: identifies a user, and is the key id of the user's signatures",
});
/** An X25519 public key. */
export const kexPub: Schema<string> = by(check.kexPub, {
  ...HEX64,
  description: "X25519 public key, hex, that room keys are sealed to",
});
/** The id of a room. */
export const roomId: Schema<string> = by(check.roomId, {
  type: "string",
  minLength: 1,
  maxLength: LIMITS.roomIdBytes,
  description: "Room id: 1 to 256 bytes of UTF-8 without spaces, control characters, * and >",
});
const subject: Schema<string> = by(check.subject, {
  type: "string",
  minLength: 1,
  maxLength: LIMITS.subjectBytes,
  description: "NATS subject of the room's messages; default: derived from the id",
});
const handle: Schema<string> = by(check.handle, {
  type: "string",
  minLength: 1,
  maxLength: LIMITS.handleChars,
  description: "Display name",
});
/** What a user may do. */
export const role: Schema<User["role"]> = by(check.userRole, { enum: ["admin", "user"] });
/** What a member of a room may do. */
export const memberRole: Schema<Member["role"]> = oneOf(["owner", "member"]);
/** The status of a user. */
export const userStatus: Schema<User["status"]> = oneOf(["active", "revoked"]);
const epoch: Schema<number> = by(check.epoch, {
  type: "integer",
  minimum: 1,
  maximum: LIMITS.epoch,
  description: "Epoch of the room key",
});
/** A time. */
export const time: Schema<string> = by(check.time, { type: "string", format: "date-time" });
/** Yes or no. */
export const boolean = (description: string): Schema<boolean> =>
  by(check.boolean, { type: "boolean", description });

const FORCE = "Allow it for the last active admin too";

const BASE64URL = /^[A-Za-z0-9_-]*$/;

/** Bytes of a sealed key as JSON carries them: base64url without padding. */
const sealedKey: Schema<Uint8Array> = by((field, value) => {
  if (typeof value !== "string" || !BASE64URL.test(value) || value.length % 4 === 1) {
    // The value is not shown: it may be an unsealed key.
    throw new StoreError("invalid", `${field} must be base64url without padding`, { field });
  }
  return check.sealedKey(field, new Uint8Array(Buffer.from(value, "base64url")));
}, {
  type: "string",
  contentEncoding: "base64url",
  maxLength: Math.ceil(LIMITS.sealedKeyBytes * 4 / 3),
  description: "The room key sealed for one endpoint: 1 to 4,096 bytes, base64url",
});

const keyFor: Schema<{ endpoint: string; sealedKey: Uint8Array }> = object({
  endpoint: signPub,
  sealedKey,
});

/** A member to add, and whether it counts as accepted. */
const addedMember = {
  endpoint: signPub,
  kexPub,
  accepted: optional(boolean(
    "False makes it an offer; default: true if an admin or the member itself adds it, else false",
  )),
};

/** Yes or no in a query. */
export const booleanInQuery: Schema<boolean> = by((field, value) => {
  if (value === "true" || value === "false") return value === "true";
  throw new StoreError("invalid", `${field} must be true or false, found ${check.show(value)}`, {
    field,
  });
}, { type: "boolean" });

/** A number in a query. */
export function numberInQuery(
  min: number,
  max: number,
  json: JsonSchema,
): Schema<number> {
  return by((field, value) => {
    const number = typeof value === "string" && /^\d{1,10}$/.test(value) ? Number(value) : value;
    return check.integer(field, number, min, max);
  }, { type: "integer", minimum: min, maximum: max, ...json });
}

/** Text that is not empty. */
export function textUpTo(most: number, json: JsonSchema): Schema<string> {
  return by((field, value) => {
    if (typeof value === "string" && value !== "" && value.length <= most) return value;
    throw new StoreError("invalid", `${field} must be 1 to ${most} characters`, { field });
  }, { type: "string", minLength: 1, maxLength: most, ...json });
}

/** Which page of a list. */
export const paging: {
  limit: Schema<number | undefined>;
  after: Schema<string | undefined>;
} = {
  limit: optional(numberInQuery(1, LIMITS.pageMax, {
    default: LIMITS.pageDefault,
    description: "Maximum number of items; a page may have fewer, follow `next`",
  })),
  after: optional(by(
    (field, value) => {
      if (typeof value === "string") return value;
      throw new StoreError("invalid", `${field} must be text`, { field });
    },
    { type: "string", description: "The `next` of the previous page" },
  )),
};
const epochInQuery = optional(
  numberInQuery(1, LIMITS.epoch, { description: "Only keys of this epoch" }),
);

/** Most characters that are searched for. */
const SEARCH_CHARS = 64;

/** How found items are sorted and counted. */
const sorting = <const T extends string>(sorts: readonly T[]) => ({
  sort: optional(described(oneOf(sorts), `What to sort by; default ${sorts[0]}`)),
  order: optional(described(oneOf(ORDERS), "Direction of sorting; default asc")),
  total: optional(described(booleanInQuery, "Also count all items that match")),
});

/** Queries. */
export const QUERY = {
  page: object(paging),
  users: object({
    ...paging,
    ...sorting(USER_SORTS),
    search: optional(textUpTo(SEARCH_CHARS, {
      description:
        "Only users whose handle contains this, ignoring case, or whose key begins with it",
    })),
    role: optional(role),
    status: optional(userStatus),
    unseenSince: optional(described(
      time,
      "Only users without an open bus connection of whom the responding process has seen no request " +
        "and no bus connection since this time, or its start. A page may be short, and has no total",
    )),
    lacking: optional(described(
      booleanInQuery,
      "True: only users who lack the current key of a room they are in; false: only others",
    )),
  }),
  invites: object({
    ...paging,
    state: optional(oneOf(["open", "used", "expired", "canceled"])),
  }),
  rooms: object({
    ...paging,
    ...sorting(ROOM_SORTS),
    search: optional(textUpTo(LIMITS.roomIdBytes, {
      description: "Only rooms whose id contains this, ignoring case; with `all`",
    })),
    member: optional(described(signPub, "Only rooms with this member; with `all`")),
    lacking: optional(described(
      booleanInQuery,
      "True: only rooms with members who lack the current key; false: only others; with `all`",
    )),
    all: optional(described(booleanInQuery, "All rooms, not only the caller's; for admins")),
    accepted: optional(described(
      booleanInQuery,
      "True: only rooms the caller, or `member`, has accepted; false: only offers",
    )),
  }),
  members: object({
    ...paging,
    handles: optional(described(booleanInQuery, "Also the names of the members")),
  }),
  deleteUser: object({
    force: optional(described(booleanInQuery, FORCE)),
    keepMemberships: optional(described(
      booleanInQuery,
      "Keep its memberships; they become valid again if a user with the same key is added",
    )),
  }),
  blob: object({
    all: optional(described(booleanInQuery, "Also delete the uploads of other users; for admins")),
  }),
  key: object({ epoch: epochInQuery }),
  keys: object({ ...paging, epoch: epochInQuery }),
} as const;

const token = by(check.inviteToken, {
  type: "string",
  pattern: "[0-9a-fA-F]{64}\\s*$",
  writeOnly: true,
  description: "The invite's token, or its link, which ends in # and the token",
});

const handover: Schema<Handover> = by(check.handover, {
  type: "object",
  title: "Handover",
  description: "A room's owner states that another member owns it from now on",
  properties: {
    from: signPub.json,
    to: signPub.json,
    epoch: epoch.json,
    signature: {
      type: "string",
      contentEncoding: "base64url",
      minLength: 86,
      maxLength: 86,
      description: "Ed25519 signature by `from`: see docs/sealing.md",
    },
  },
  required: ["from", "to", "epoch", "signature"],
  additionalProperties: false,
});

/** Bodies. */
export const BODY = {
  register: object({ token, kexPub, handle }),
  token: object({ token }),
  newUser: object({ signPub, kexPub, handle, role: optional(role) }),
  force: object({ force: optional(boolean(FORCE)) }),
  role: object({ role, force: optional(boolean(FORCE)) }),
  newInvite: object({
    role: optional(role),
    note: optional(by(check.note, { type: "string", maxLength: LIMITS.noteChars })),
    expiresIn: optional(by(
      (field, value) => check.integer(field, value, 1, LIMITS.inviteMaxMs),
      {
        type: "integer",
        minimum: 1,
        maximum: LIMITS.inviteMaxMs,
        default: LIMITS.inviteDefaultMs,
        description: "Lifetime in milliseconds",
      },
    )),
    room: optional(described(roomId, "An existing room: the invited user waits for its owner")),
  }),
  newRoom: object({
    id: roomId,
    subject: optional(subject),
    encrypted: optional(boolean("Whether messages are end-to-end encrypted; default true")),
    kexPub: optional(described(kexPub, "The caller's own X25519 key; default: the registered one")),
    members: optional(list(object(addedMember))),
    sealedKeys: optional(list(keyFor)),
  }),
  newMember: object({
    ...addedMember,
    key: optional(object({ epoch, sealedKey })),
  }),
  roomOwner: object({ endpoint: signPub }),
  handover: object({ handover }),
  rekey: object({ epoch, sealedKeys: list(keyFor) }),
  newKey: object({ epoch, endpoint: signPub, sealedKey }),
} as const;

/** A sealed key as JSON carries it. */
export type SealedKeyJson = Omit<SealedKey, "sealedKey"> & { sealedKey: string };

/** The JSON form of a sealed key. */
export function sealedKeyJson(key: SealedKey): SealedKeyJson {
  return { ...key, sealedKey: Buffer.from(key.sealedKey).toString("base64url") };
}

/** A number of things, in an answer. */
export const count = (description?: string): Schema<number> =>
  by((field, value) => check.integer(field, value, 0, Number.MAX_SAFE_INTEGER), {
    type: "integer",
    minimum: 0,
    ...description === undefined ? {} : { description },
  });

/** Any text, in an answer. */
export const text = (json: JsonSchema = {}): Schema<string> =>
  by((field, value) => {
    if (typeof value === "string") return value;
    throw new StoreError("invalid", `${field} must be a string`, { field });
  }, { type: "string", ...json });

const room: Schema<Room> = object({
  id: roomId,
  subject,
  encrypted: boolean("Whether messages are end-to-end encrypted"),
  owner: signPub,
  epoch,
  createdAt: time,
  handovers: optional(described(list(handover), "The last hand-overs by its owners, oldest first")),
}, { title: "Room" });
const memberFields = {
  roomId,
  endpoint: signPub,
  role: memberRole,
  signPub,
  kexPub,
  joinedAt: time,
  accepted: boolean("Whether the member has accepted; false for an offer"),
};
const member: Schema<Member> = object(memberFields, { title: "Member" });
const listedMember = object({
  ...memberFields,
  status: nullable(
    described(userStatus, "Status of the member's user; null if there is no such user"),
  ),
  handle: optional(
    nullable(described(handle, "Name of the member's user, with `handles`; null if there is none")),
  ),
}, { title: "ListedMember" });
const key: Schema<SealedKey> = object({
  roomId,
  epoch,
  endpoint: signPub,
  sealedKey,
  createdAt: time,
}, { title: "SealedKey" });
const user: Schema<User> = object({
  signPub,
  kexPub,
  handle,
  role,
  status: userStatus,
  createdAt: time,
  revokedAt: nullable(time),
  invitedTo: optional(described(
    roomId,
    "The room that the user waits for; shown to the user itself, the room's owner and admins",
  )),
}, { title: "User" });
const invite: Schema<Invite> = object({
  id: by(check.hashId, { ...HEX64, description: "SHA-256 of the token" }),
  createdBy: text(),
  role,
  note: text(),
  createdAt: time,
  expiresAt: text(),
  usedAt: nullable(time),
  usedBy: nullable(signPub),
  canceledAt: nullable(time),
  room: optional(described(roomId, "The room that the user who claims it waits for")),
}, { title: "Invite" });

/** The `next` of a page. */
export const next: Schema<string | null> = nullable(
  text({ description: "Pass it as `after` to get the next page; null on the last page" }),
);

const page = <T>(item: Schema<T>): Schema<{ items: T[]; next: string | null }> =>
  object({ items: list(item), next });
const found = <T>(item: Schema<T>) =>
  object({
    items: list(item),
    next,
    total: optional(count("Number of all items that match; with `total`")),
    position: optional(count("Position in the stream as of which a follower answered")),
    exact: optional(
      boolean("Whether the follower held everything up to `position`; else items may be missing"),
    ),
  });

/** Answers. */
export const ANSWER = {
  room,
  member,
  key,
  user,
  invite,
  openInvite: object({
    role,
    expiresAt: text(),
    room: optional(described(roomId, "The room that the invited user will wait for")),
  }),
  rooms: found(room),
  members: page(listedMember),
  waiting: page(user),
  keys: page(key),
  users: found(user),
  invites: page(invite),
  createdInvite: object({
    invite,
    token: text({ description: "Returned only in this response" }),
  }),
  me: object({
    endpoint: signPub,
    user: nullable(user),
    waitingFor: list(described(roomId, "A room whose owner has not added the user yet")),
  }),
  nodes: object({
    nodes: list(object({
      name: nullable(text()),
      urls: list(text({ description: "URL of its HTTP server for clients" })),
      busUrls: list(text({ description: "URL of its NATS server for clients" })),
      wsUrls: list(text({ description: "URL of its NATS server over WebSocket" })),
      sessions: optional(boolean("Whether its NATS server admits the keys of sessions")),
      answers: boolean("Whether it answered when the responding server asked last"),
    }, { title: "ControlPlaneNode" })),
  }),
  blob: object({
    id: by(check.hashId, { ...HEX64, description: "SHA-256 of the bytes" }),
    size: count("Size in bytes"),
  }),
} as const;

/** Problem details (RFC 9457) as errors are answered. */
export const PROBLEM: JsonSchema = {
  title: "Problem",
  type: "object",
  properties: {
    type: { type: "string", description: "URL of the code's documentation" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string", description: "Stable error code" },
    field: { type: "string", description: "The invalid field" },
    hint: { type: "string", description: "What to do next; for people" },
    missing: {
      type: "array",
      items: { type: "string" },
      description:
        "Signing keys of the members without a key, the first hundred, for `missing_key`",
    },
    reason: { type: "string", description: "Why the signature was refused" },
    requestId: { type: "string", description: "Id of this request in the log" },
    retryAfter: { type: "integer", description: "Seconds to wait before a retry" },
  },
  required: ["type", "title", "status", "detail", "code", "requestId"],
};
