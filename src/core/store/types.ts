/**
 * What a store offers, the same on every backend.
 *
 * @module
 */

import type { Backend, RestoreOptions } from "../backend.ts";
import type {
  AccessChange,
  Claim,
  Counts,
  CreatedInvite,
  Invite,
  Member,
  MemberToAdd,
  NewInvite,
  NewRoom,
  NewSealedKey,
  NewUser,
  Page,
  PageRequest,
  Rekey,
  Room,
  SealedKey,
  StoreHealth,
  StoreRecord,
  User,
  UserRole,
} from "../model.ts";

/**
 * The control plane's store. Every method is one transaction: all of it happens or none, also when
 * the process is killed half-way. Methods reject with a `StoreError`; besides the codes each one
 * names, any may reject with `invalid` (nothing was written), `unavailable` and `closed`.
 *
 * @example
 * ```ts
 * import { openSqlite } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * const { token } = await store.createInvite({ createdBy: "cli", role: "admin" });
 * const user = await store.consumeInvite(token, {
 *   signPub: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
 *   kexPub: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
 *   handle: "ada",
 * });
 * if (!(await store.isAuthorized(user.signPub))) throw new Error("unreachable");
 * ```
 */
export interface Store extends AsyncDisposable {
  /** The backend's short name: `sqlite` or `jetstream`. */
  readonly backend: string;
  /** Whether opening created it: there was no file or bucket before. */
  readonly created: boolean;

  /** Creates a room at epoch 1 with its owner, first members and their sealed keys. `room_exists` */
  createRoom(room: NewRoom): Promise<Room>;
  /** Reads a room. `not_found` */
  getRoom(id: string): Promise<Room>;
  /** Lists rooms by id (UTF-8 bytes). */
  listRooms(page?: PageRequest): Promise<Page<Room>>;
  /** Iterates over rooms by id, reading a page at a time. */
  rooms(page?: PageRequest): AsyncIterable<Room>;
  /**
   * Lists the rooms an endpoint is a member of, by id; none is an empty page. `accepted: true` lists only
   * those it has accepted, `false` only offers.
   */
  listRoomsForEndpoint(
    endpoint: string,
    page?: PageRequest & { accepted?: boolean },
  ): Promise<Page<Room>>;
  /** Iterates over the rooms an endpoint is a member of, as {@link listRoomsForEndpoint} lists them. */
  roomsForEndpoint(
    endpoint: string,
    page?: PageRequest & { accepted?: boolean },
  ): AsyncIterable<Room>;
  /** Removes a room with its members and sealed keys. `not_found` */
  deleteRoom(id: string): Promise<void>;

  /**
   * Adds a member, and its sealed key of the room's current epoch where one is given.
   * `not_found` (room), `member_exists`, `conflict` (the room is at another epoch)
   */
  addMember(
    roomId: string,
    member: MemberToAdd,
    key?: { epoch: number; sealedKey: Uint8Array },
  ): Promise<Member>;
  /** Reads a membership. `not_found` */
  getMember(roomId: string, endpoint: string): Promise<Member>;
  /** Lists a room's members by endpoint. `not_found` (room) */
  listMembers(roomId: string, page?: PageRequest): Promise<Page<Member>>;
  /** Iterates over a room's members by endpoint, reading a page at a time. `not_found` (room) */
  members(roomId: string, page?: PageRequest): AsyncIterable<Member>;
  /** How many members a room has; 0 for a room that does not exist. */
  countMembers(roomId: string): Promise<number>;
  /** Accepts an offered membership. Idempotent. `not_found` (room or member) */
  joinRoom(roomId: string, endpoint: string): Promise<Member>;
  /**
   * Gives a room whose owner is revoked, or no user, to another member. The former owner's membership
   * ends; epoch and sealed keys stay as they are. Idempotent. `not_found` (room or member), `conflict`
   * (the member has not accepted, or lacks the current key), `refused` (the owner is an active user)
   */
  changeRoomOwner(roomId: string, endpoint: string): Promise<Room>;
  /**
   * Ends a membership. Sealed keys the member had stay, inert; rekey the room to shut it out of what
   * comes. `not_found`, `room_owner`
   */
  removeMember(roomId: string, endpoint: string): Promise<void>;

  /**
   * Moves a room to its next epoch with the new key sealed for every member. `not_found`, `conflict`
   * (another epoch than the room's plus 1, or a key for somebody who is not a member), `missing_key`
   * (no key for a member; the error's `missing` lists who)
   */
  rekeyRoom(roomId: string, rekey: Rekey): Promise<Room>;
  /** Stores or replaces a member's sealed key. `not_found` (room or member), `conflict` (epoch ahead of the room) */
  putSealedKey(key: NewSealedKey): Promise<SealedKey>;
  /** Reads an endpoint's sealed key: of `epoch`, or of the latest epoch it has one for. `not_found` */
  getSealedKey(roomId: string, endpoint: string, epoch?: number): Promise<SealedKey>;
  /** Lists a room's sealed keys, of one epoch or all, by epoch then endpoint. `not_found` (room) */
  listSealedKeys(
    roomId: string,
    options?: PageRequest & { epoch?: number },
  ): Promise<Page<SealedKey>>;
  /** Iterates over a room's sealed keys, of one epoch or all, reading a page at a time. `not_found` (room) */
  sealedKeys(
    roomId: string,
    options?: PageRequest & { epoch?: number },
  ): AsyncIterable<SealedKey>;
  /**
   * Removes a room's oldest sealed keys, so that the newest `keep` epochs (2 at least) have theirs. Up
   * to 20,000 keys a call, the oldest epochs first; a later call continues. Nothing of the epochs that
   * are kept is touched. `not_found` (room)
   *
   * @returns How many keys were removed
   */
  pruneSealedKeys(roomId: string, keep: number): Promise<number>;

  /** Adds an active user. `user_exists` */
  addUser(user: NewUser): Promise<User>;
  /** Reads a user. `not_found` */
  getUser(signPub: string): Promise<User>;
  /** Lists users by signPub. */
  listUsers(page?: PageRequest): Promise<Page<User>>;
  /** Iterates over users by signPub, reading a page at a time. */
  users(page?: PageRequest): AsyncIterable<User>;
  /** Takes a user's access; again changes nothing. `not_found`, `last_admin` (unless `force`) */
  revokeUser(signPub: string, options?: { force?: boolean }): Promise<User>;
  /** Gives a revoked user access again; again changes nothing. `not_found` */
  restoreUser(signPub: string): Promise<User>;
  /** Makes a user an admin, or no more; again changes nothing. `not_found`, `last_admin` (unless `force`) */
  setUserRole(signPub: string, role: UserRole, options?: { force?: boolean }): Promise<User>;
  /**
   * Removes a user. Its memberships stay: inert, and good again when a user with the same key is added.
   * `removeUser` ends them too. `not_found`, `last_admin` (unless `force`)
   */
  deleteUser(signPub: string, options?: { force?: boolean }): Promise<void>;
  /** Whether the key belongs to an active user. Never rejects: on any error or doubt the answer is no. */
  isAuthorized(signPub: string): Promise<boolean>;
  /** Whether there is an active admin. Never rejects: on any error or doubt the answer is no. */
  hasAdmin(): Promise<boolean>;

  /** Creates a single-use invite. The token is in the answer and nowhere else. */
  createInvite(invite: NewInvite): Promise<CreatedInvite>;
  /** Reads an invite by its id, the SHA-256 of the token. `not_found` */
  getInvite(id: string): Promise<Invite>;
  /** Lists invites by id. */
  listInvites(page?: PageRequest): Promise<Page<Invite>>;
  /** Iterates over invites by id, reading a page at a time. */
  invites(page?: PageRequest): AsyncIterable<Invite>;
  /**
   * Claims an invite, by its token or its link (`…#token`): exactly one caller wins, and becomes a user
   * with the invite's role.
   * `not_found`, `invite_used`, `invite_expired`, `invite_canceled`; `user_exists` when the key is
   * registered already, and then the invite is spent all the same
   */
  consumeInvite(token: string, claim: Claim): Promise<User>;
  /** Cancels an invite; again changes nothing. `not_found`, `invite_used` */
  cancelInvite(id: string): Promise<Invite>;
  /**
   * Removes invites that had been used, canceled or expired at a time (ISO 8601, in UTC with
   * milliseconds); a time to come counts as now. One that can still be claimed is never removed; its token is then `not_found`.
   *
   * @returns How many invites were removed
   */
  pruneInvites(before: string): Promise<number>;

  /** Every record as of one point in time, in canonical order, streamed. */
  records(options?: { signal?: AbortSignal }): AsyncIterable<StoreRecord>;
  /**
   * Puts records back as they are: epochs, statuses and times kept. They must come in canonical
   * order and fit together. `refused` (not empty, without `replace`), `invalid`, `aborted`
   */
  restore(
    records: AsyncIterable<StoreRecord> | Iterable<StoreRecord>,
    options?: RestoreOptions,
  ): Promise<Counts>;

  /**
   * Calls `listener` after every change of who may do what, whoever made it: this store, another
   * process on the same file, another node on the same bucket. Within 250 ms while the backend
   * answers; each change at least once, and at times for nothing. Where a change may have been
   * missed, or cannot be named, it is called with `{}`. What it reads then through this store is at
   * least as new as the change. It is not awaited, and what it throws is ignored. Throws `closed`.
   *
   * @returns Ends it; again does nothing
   */
  watchAccess(listener: (change: AccessChange) => void): () => void;
  /** Whether the store can do its work now, and what was looked at. Never rejects. */
  health(): Promise<StoreHealth>;
  /** Ends the store; later calls reject with `closed`. Closing again does nothing. */
  close(): Promise<void>;
}

/** What {@link createStore} takes besides the backend. */
export interface StoreOptions {
  /** The time now, for tests. Default: the system clock. */
  clock?: () => Date;
}

/** What the parts of a store share. */
export interface Shared {
  /** The backend; throws `closed` once the store is. */
  open(): Backend;
  /** The time now, ISO 8601. */
  now(): string;
}
