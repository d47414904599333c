/**
 * What a backend does. {@link createStore} turns one into a {@link Store}: inputs arrive here
 * validated, normalised (lower-case keys) and complete (times, roles, ids), so a backend holds
 * only transactions.
 *
 * @module
 */

import type {
  AccessChange,
  Counts,
  HealthCheck,
  Invite,
  Member,
  Room,
  SealedKey,
  StoreRecord,
  User,
  UserRole,
  UserStatus,
} from "./model.ts";

/** Which items of a list: those behind `after` in the list's order, at most `limit`. */
export interface Range<K = string> {
  /** At most this many. */
  limit: number;
  /** The key to continue behind, `null` for the start. */
  after: K | null;
}

/** The last part of a sealed key's key. */
export interface SealedKeyCursor {
  /** The epoch. */
  epoch: number;
  /** The endpoint. */
  endpoint: string;
}

/** Most sealed keys that one call of {@link Backend.pruneSealedKeys} removes. */
export const PRUNE_LIMIT = 20_000;

/** How a restore goes about it. */
export interface RestoreOptions {
  /** Replace what is there instead of refusing a store that is not empty. */
  replace?: boolean;
  /** Ends it. What was there before stays, or the target is left marked as in progress. */
  signal?: AbortSignal;
  /** Called with the number of records restored so far. */
  onProgress?: (done: number) => void;
}

/**
 * A place where the control plane is kept. Every method is one transaction. Errors are
 * `StoreError`s; a backend's own errors become the `cause`.
 *
 * Lists are ordered by their key as UTF-8 bytes: rooms by `id`, members by `endpoint`, sealed keys
 * by `epoch` then `endpoint`, users by `signPub`, invites by `id`.
 */
export interface Backend {
  /** Short name for messages, such as `sqlite`. */
  readonly name: string;
  /** Whether opening created the file or bucket. Default `false`. */
  readonly created?: boolean;
  /** Stores a new room; `room_exists`. */
  createRoom(room: Room, members: Member[], keys: SealedKey[]): Promise<void>;
  /** `null` when there is none. */
  getRoom(id: string): Promise<Room | null>;
  /** All rooms. */
  listRooms(range: Range): Promise<Room[]>;
  /** Rooms that `endpoint` is a member of: all, only those accepted (`true`), or only offers (`false`). */
  listRoomsForEndpoint(endpoint: string, range: Range, accepted: boolean | null): Promise<Room[]>;
  /** Removes the room, its members and its sealed keys; `not_found`. */
  deleteRoom(id: string): Promise<void>;
  /** Adds a member, with a sealed key of the room's current epoch where one is given; `not_found`, `member_exists`, `conflict` (epoch). */
  addMember(member: Member, key: SealedKey | null): Promise<void>;
  /** `null` when the room or the member is not there. */
  getMember(roomId: string, endpoint: string): Promise<Member | null>;
  /** `not_found` for the room. */
  listMembers(roomId: string, range: Range): Promise<Member[]>;
  /** How many members the room has; 0 when the room is not there. May be a moment old. */
  countMembers(roomId: string): Promise<number>;
  /** Accepts an offered membership; one that is accepted stays as it is. `not_found`. */
  joinRoom(roomId: string, endpoint: string): Promise<Member>;
  /**
   * Makes an accepted member the owner and ends the former owner's membership, where that is no active
   * user; the owner itself stays. `not_found`, `conflict` (not accepted, no current key), `refused` (active owner).
   */
  changeRoomOwner(roomId: string, endpoint: string): Promise<Room>;
  /** Removes the membership; sealed keys stay. `not_found`, `room_owner`. */
  removeMember(roomId: string, endpoint: string): Promise<void>;
  /** Moves the room to `epoch` with these keys; `not_found`, `conflict`, `missing_key`. Returns the room. */
  rekeyRoom(roomId: string, epoch: number, keys: SealedKey[]): Promise<Room>;
  /** Stores or replaces one sealed key of a member; `not_found`, `conflict` (epoch ahead). */
  putSealedKey(key: SealedKey): Promise<void>;
  /** Of `epoch`, or the highest there is for the endpoint; `null` when there is none. */
  getSealedKey(roomId: string, endpoint: string, epoch: number | null): Promise<SealedKey | null>;
  /** Of one epoch, or of all; `not_found` for the room. */
  listSealedKeys(
    roomId: string,
    epoch: number | null,
    range: Range<SealedKeyCursor>,
  ): Promise<SealedKey[]>;
  /**
   * Removes up to {@link PRUNE_LIMIT} sealed keys of epochs up to the room's own minus `keep`, oldest
   * epochs first; returns how many. `not_found` for the room.
   */
  pruneSealedKeys(roomId: string, keep: number): Promise<number>;
  /** `user_exists`. */
  addUser(user: User): Promise<void>;
  /** `null` when there is none. */
  getUser(signPub: string): Promise<User | null>;
  /** All users. */
  listUsers(range: Range): Promise<User[]>;
  /** Sets status and `revokedAt`; the same status again changes nothing. `not_found`, `last_admin` (unless `force`). */
  setUserStatus(signPub: string, status: UserStatus, at: string, force: boolean): Promise<User>;
  /** Sets the role; the same again changes nothing. `not_found`, `last_admin` (unless `force`). */
  setUserRole(signPub: string, role: UserRole, force: boolean): Promise<User>;
  /** `not_found`, `last_admin` (unless `force`). Memberships stay. */
  deleteUser(signPub: string, force: boolean): Promise<void>;
  /** May throw: the store answers no then. A plain boolean when no wait is needed. */
  isAuthorized(signPub: string): boolean | Promise<boolean>;
  /** Whether there is an active admin. May throw: the store answers no then. */
  hasAdmin(): boolean | Promise<boolean>;
  /** `conflict` when the id is taken. */
  createInvite(invite: Invite): Promise<void>;
  /** `null` when there is none. */
  getInvite(id: string): Promise<Invite | null>;
  /** All invites. */
  listInvites(range: Range): Promise<Invite[]>;
  /**
   * Spends the invite and adds the user, whose role becomes the invite's. `not_found`, `invite_*`;
   * `user_exists` when the user is there already, and the invite is spent all the same.
   */
  consumeInvite(id: string, user: User): Promise<User>;
  /** Cancels; canceling again changes nothing. `not_found`, `invite_used`. */
  cancelInvite(id: string, at: string): Promise<Invite>;
  /** Removes the invites that were over at `before` (see `inviteEnd` of the rules); returns how many. */
  pruneInvites(before: string): Promise<number>;
  /** Everything as of one point in time, in canonical order: by {@link KINDS}, then by key as the lists are. Sealed keys by room, epoch, endpoint. */
  records(signal?: AbortSignal): AsyncIterable<StoreRecord>;
  /** Stores records as they are. `refused` when the store is not empty and `replace` is not set. */
  restore(records: AsyncIterable<StoreRecord>, options: RestoreOptions): Promise<Counts>;
  /** Tells `listener` of every change of access, by whomever; returns what ends it. See {@link Store.watchAccess}. */
  watchAccess(listener: (change: AccessChange) => void): () => void;
  /** What the backend looked at to tell whether it can work now. May reject: that is a no. */
  health(): Promise<HealthCheck[]>;
  /** Ends work under way and frees what is held. */
  close(): Promise<void>;
}
