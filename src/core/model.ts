/**
 * The records of the control plane, and the inputs of the methods that create them.
 *
 * Times are ISO 8601 in UTC with milliseconds (`2026-11-20T08:00:00.000Z`). Keys are 32 bytes in
 * hex: stored lower-case, accepted in any case. An endpoint is the signing key (`signPub`) of a peer.
 *
 * @module
 */

/** A room: a subject on the bus, who owns it, and the epoch of its key. */
export interface Room {
  /** Identifier, unique in the control plane. */
  id: string;
  /** The NATS subject its messages travel on. */
  subject: string;
  /** Whether messages are sealed with a room key. */
  encrypted: boolean;
  /** Endpoint of the owner, who is always a member. */
  owner: string;
  /** Number of the current room key; starts at 1, each rekey adds 1. */
  epoch: number;
  /** When the room was created. */
  createdAt: string;
  /** The last hand-overs by its owners, oldest first, at most 8. Absent for none. */
  handovers?: Handover[];
}

/** An owner's signed statement that another member owns the room from now on. */
export interface Handover {
  /** The owner who signed it. */
  from: string;
  /** The new owner. */
  to: string;
  /** The room's epoch at that time, greater than that of the hand-over before. */
  epoch: number;
  /** Ed25519 signature by `from`, base64url. `docs/sealing.md` has the signed bytes. */
  signature: string;
}

/** What a member may do in a room. */
export type MemberRole = "owner" | "member";

/** An endpoint's membership of a room. */
export interface Member {
  /** The room. */
  roomId: string;
  /** The member's endpoint. */
  endpoint: string;
  /** `owner` for the room's owner, `member` for all others. */
  role: MemberRole;
  /** Ed25519 public key, hex; the same value as `endpoint`. */
  signPub: string;
  /** X25519 public key, hex, that room keys are sealed to. */
  kexPub: string;
  /** When the member was added. */
  joinedAt: string;
  /** `false` for an offer: added by someone else and not accepted yet. Always `true` for the owner. */
  accepted: boolean;
}

/** A room key of one epoch, sealed for one member. The control plane cannot open it. */
export interface SealedKey {
  /** The room. */
  roomId: string;
  /** The epoch the key belongs to. */
  epoch: number;
  /** The member it is sealed for. */
  endpoint: string;
  /** Opaque bytes. */
  sealedKey: Uint8Array;
  /** When it was stored. */
  createdAt: string;
}

/** What a user may do to the control plane. */
export type UserRole = "admin" | "user";
/** Whether a user may connect. */
export type UserStatus = "active" | "revoked";

/** An entry of the allowlist. */
export interface User {
  /** Ed25519 public key, hex: the user's identity. */
  signPub: string;
  /** X25519 public key, hex. */
  kexPub: string;
  /** Display name. Not unique. */
  handle: string;
  /** `admin` or `user`. */
  role: UserRole;
  /** `active` users may connect. */
  status: UserStatus;
  /** When the user was added. */
  createdAt: string;
  /** When the user was revoked, `null` for active users. */
  revokedAt: string | null;
  /** The room of the invite it used last, until it is added to it. Absent for none. */
  invitedTo?: string;
}

/** A single-use invite. The token is not stored, only its SHA-256, which is the `id`. */
export interface Invite {
  /** SHA-256 of the token, hex. */
  id: string;
  /** Who created it: an admin's `signPub`, or a label such as `cli`. */
  createdBy: string;
  /** The role the new user gets. */
  role: UserRole;
  /** Free text for the admin. */
  note: string;
  /** When it was created. */
  createdAt: string;
  /** When it expires. A value that cannot be parsed counts as expired. */
  expiresAt: string;
  /** When it was claimed, or `null`. */
  usedAt: string | null;
  /** `signPub` of the user who claimed it, or `null`. */
  usedBy: string | null;
  /** When it was canceled, or `null`. */
  canceledAt: string | null;
  /** The room that the user who claims it waits for, until its owner adds the user. Absent for none. */
  room?: string;
}

/** State of an invite. */
export type InviteState = "open" | "used" | "expired" | "canceled";

/** The kinds of record, in canonical order. SQLite tables and KV key spaces have these names. */
export const KINDS = ["rooms", "members", "room_keys", "users", "invites"] as const;
/** One of {@link KINDS}. */
export type Kind = typeof KINDS[number];

/** The record type of each kind. */
export interface RecordOf {
  /** Rooms. */
  rooms: Room;
  /** Members. */
  members: Member;
  /** Sealed keys. */
  room_keys: SealedKey;
  /** Users. */
  users: User;
  /** Invites. */
  invites: Invite;
}

/** Any record with its kind. */
export type StoreRecord = { [K in Kind]: { kind: K; record: RecordOf[K] } }[Kind];

/** A number for each kind. */
export type Counts = Record<Kind, number>;

/** Public keys: a `User`, an `Identity`, a `Member`, or any other object with both. */
export interface PublicKeys {
  /** Ed25519 public key, hex. */
  signPub: string;
  /** X25519 public key, hex. */
  kexPub: string;
}

/** Public keys, the signing key called `endpoint` as in the records of rooms. */
export interface NewMember {
  /** Ed25519 public key, hex. */
  endpoint: string;
  /** X25519 public key, hex. */
  kexPub: string;
}

/** Who becomes a member: a user, or any other public keys. */
export type MemberKeys = PublicKeys | NewMember;

/** What {@link Store.addMember} takes. */
export type MemberToAdd = MemberKeys & Pick<AddedMember, "accepted">;

/** A member to add, the signing key called `endpoint`. */
export interface AddedMember extends NewMember {
  /** Default `true`; `false` makes it an offer, which the member accepts with {@link Store.joinRoom}. */
  accepted?: boolean;
}

/** A room key sealed for one endpoint. */
export interface KeyFor {
  /** The endpoint it is sealed for. */
  endpoint: string;
  /** Opaque bytes, 1 to 4,096. */
  sealedKey: Uint8Array;
}

/** What {@link Store.createRoom} takes. */
export interface NewRoom {
  /** Identifier: 1 to 256 bytes of UTF-8. */
  id: string;
  /** NATS subject without wildcards. */
  subject: string;
  /** Default `true`. A cleartext room has no sealed keys. */
  encrypted?: boolean;
  /** The owner, first member of the room. */
  owner: MemberKeys;
  /** Initial members besides the owner. */
  members?: MemberToAdd[];
  /** The first room key (epoch 1), sealed for the owner and every member. */
  sealedKeys?: KeyFor[];
}

/** What {@link Store.rekeyRoom} takes. */
export interface Rekey {
  /** The new epoch: the room's current epoch plus 1, otherwise `conflict`. */
  epoch: number;
  /** The new room key, sealed for exactly the room's members. */
  sealedKeys: KeyFor[];
}

/** A sealed key to store. */
export interface NewSealedKey {
  /** The room. */
  roomId: string;
  /** The epoch of the key, from 1 to the room's own. */
  epoch: number;
  /** The member it is sealed for. */
  endpoint: string;
  /** Opaque bytes, 1 to 4,096. */
  sealedKey: Uint8Array;
}

/** What {@link Store.addUser} takes. */
export interface NewUser {
  /** Ed25519 public key, hex. */
  signPub: string;
  /** X25519 public key, hex. */
  kexPub: string;
  /** Display name: 1 to 64 characters, no control characters. */
  handle: string;
  /** Default `user`. */
  role?: UserRole;
}

/** What {@link Store.consumeInvite} takes besides the token. The role comes from the invite. */
export type Claim = Omit<NewUser, "role">;

/** What {@link Store.createInvite} takes. */
export interface NewInvite {
  /** Who creates it: an admin's `signPub`, or a label such as `cli`. */
  createdBy: string;
  /** The role the new user gets. Default `user`. */
  role?: UserRole;
  /** Free text for the admin, at most 500 characters. */
  note?: string;
  /** Lifetime in milliseconds, from 1 ms to 366 days. Default 7 days. */
  expiresIn?: number;
  /** An existing room: the user who claims the invite waits for it, until its owner adds the user. */
  room?: string;
}

/** A new invite and its token, which is returned only once and not stored. */
export interface CreatedInvite {
  /** The stored record. */
  invite: Invite;
  /** 32 random bytes in hex. Give it to the new user; it cannot be read again. */
  token: string;
}

/** Which part of a list to return. */
export interface PageRequest {
  /** At most this many items: 1 to 10,000, default 1,000. */
  limit?: number;
  /** Continue after the page that returned this as `next`. */
  after?: string | null;
}

/** A page of a list. */
export interface Page<T> {
  /** The items, in the list's order. */
  items: T[];
  /** Pass it as `after` to get the next page; `null` on the last page. */
  next: string | null;
}

/**
 * A change of access rights. With neither field, anything may have changed: check everything again.
 */
export interface AccessChange {
  /** The endpoint whose user record or memberships may have changed. */
  endpoint?: string;
  /** The room that was created, changed or deleted, which may affect all its members. */
  roomId?: string;
}

/** One health check. */
export interface HealthCheck {
  /** Stable name, such as `file` or `cache`. */
  name: string;
  /** Whether the check passed. */
  ok: boolean;
  /** Whether something is wrong that requests do not depend on; the check has passed then. */
  degraded?: true;
  /** What was found, as text for people. */
  detail: string;
}

/** Health of a store. */
export interface StoreHealth {
  /** Whether every check is ok. */
  ok: boolean;
  /** The checks. */
  checks: HealthCheck[];
}
