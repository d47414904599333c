/**
 * The backend interface. {@link createStore} turns a backend into a {@link Store}: inputs arrive
 * validated, normalized (lower-case keys) and complete (times, roles, ids), so a backend implements only
 * transactions.
 *
 * @module
 */

import type {
  AccessChange,
  Counts,
  Handover,
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
import type { Author, HistoryEntry } from "./history/entry.ts";
import type { Revision } from "./history/revision.ts";
import type { ChainEnd, HistorySource } from "./history/source.ts";
import type { Search } from "./store/search.ts";

/** A page of a list: the items after `after` in the list's order, at most `limit`. */
export interface Range<K = string> {
  /** At most this many. */
  limit: number;
  /** The key to continue after, `null` for the first page. */
  after: K | null;
}

/** Identifies a sealed key within its room. */
export interface SealedKeyCursor {
  /** The epoch. */
  epoch: number;
  /** The endpoint. */
  endpoint: string;
}

/** Maximum number of sealed keys that one call of {@link Backend.pruneSealedKeys} removes. */
export const PRUNE_LIMIT = 20_000;

/** A history to be restored. */
export interface RestoredHistory {
  /** Where the oldest entry continues. */
  start: ChainEnd;
  /** The entries, in order. */
  entries: AsyncIterable<HistoryEntry>;
}

/** Options of {@link Store.restore}. */
export interface RestoreOptions {
  /** Replace existing records instead of refusing a store that is not empty. */
  replace?: boolean;
  /**
   * Called after the last record: returns the history that they came with. A file stores it if it has
   * none yet; then its revisions continue after it. A bucket does not. Nothing is stored before it was
   * read to its end.
   */
  history?: () => Promise<RestoredHistory | null>;
  /** Aborts the restore. The existing records stay, or the target is left marked as in progress. */
  signal?: AbortSignal;
  /** Called with the number of records restored so far. */
  onProgress?: (done: number) => void;
}

/**
 * Storage for the control plane. Every method is one transaction. Errors are `StoreError`s; a
 * backend's own errors become the `cause`.
 *
 * Lists are ordered by their key as UTF-8 bytes: rooms by `id`, members by `endpoint`, sealed keys
 * by `epoch` then `endpoint`, users by `signPub`, invites by `id`.
 *
 * Each call that changes something adds one entry to the history in the same transaction (see `did` for
 * the entry of each change), and sets the revision of its author. A call that changes nothing adds none.
 */
export interface Backend {
  /** Short name for messages, such as `sqlite`. */
  readonly name: string;
  /** Whether opening created the file or bucket. Default `false`. */
  readonly created?: boolean;
  /** How often the control plane has changed sides. Default 0. */
  readonly generation?: number;
  /** Searches, for backends that can. The backend closes it. */
  readonly search?: Search;
  /** The history; absent for a backend that keeps none. */
  readonly history?: HistorySource;
  /**
   * Resolves when reads include everything up to a revision. A revision that does not exist must not harm
   * later calls. Absent for a backend whose reads include every earlier write.
   *
   * @throws {StoreError} `unavailable`: they do not after some seconds
   */
  reach?(revision: Revision, signal?: AbortSignal): Promise<void>;
  /**
   * Stores a new room.
   *
   * @throws {StoreError} `room_exists`
   */
  createRoom(room: Room, members: Member[], keys: SealedKey[], author: Author): Promise<void>;
  /** Returns it, or `null` if it does not exist. */
  getRoom(id: string): Promise<Room | null>;
  /** All rooms. */
  listRooms(range: Range): Promise<Room[]>;
  /**
   * Rooms that `endpoint` is a member of: all, only those accepted (`true`), or only offers (`false`).
   */
  listRoomsForEndpoint(endpoint: string, range: Range, accepted: boolean | null): Promise<Room[]>;
  /**
   * Deletes the room, its members and its sealed keys.
   *
   * @throws {StoreError} `not_found`
   */
  deleteRoom(id: string, author: Author): Promise<void>;
  /**
   * Adds a member, with a sealed key of the room's current epoch if one is given. Its user no longer
   * waits for the room.
   *
   * @throws {StoreError} `not_found`; `member_exists`; `conflict`: the key is of another epoch
   */
  addMember(member: Member, key: SealedKey | null, author: Author): Promise<void>;
  /** Returns it, or `null` if the room or the member does not exist. */
  getMember(roomId: string, endpoint: string): Promise<Member | null>;
  /**
   * Lists the room's members.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  listMembers(roomId: string, range: Range): Promise<Member[]>;
  /**
   * Lists the users who wait for the room: those whose {@link User.invitedTo} names it, who are active and
   * not members.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  listWaiting(roomId: string, range: Range): Promise<User[]>;
  /** Returns the number of members; 0 if the room does not exist. May be slightly stale. */
  countMembers(roomId: string): Promise<number>;
  /**
   * Accepts an offered membership. Idempotent.
   *
   * @throws {StoreError} `not_found`
   */
  joinRoom(roomId: string, endpoint: string, author: Author): Promise<Member>;
  /**
   * Makes an accepted member the owner and removes the former owner's membership, if the former owner
   * is not an active user. No change if the member is already the owner.
   *
   * @throws {StoreError} `not_found`; `conflict`: the member has not accepted, or lacks the current key;
   * `refused`: the owner is an active user
   */
  changeRoomOwner(roomId: string, endpoint: string, author: Author): Promise<Room>;
  /**
   * Makes another accepted member the owner, as the owner states; the former owner stays a member. Stores
   * the statement with the room. No change if it has been done.
   *
   * @throws {StoreError} `not_found`; `invalid`: a cleartext room; `conflict`: another owner or epoch, no epoch after the last
   * hand-over, or the member has not accepted, or lacks the current key
   */
  handOverRoom(roomId: string, handover: Handover, author: Author): Promise<Room>;
  /**
   * Removes the membership; sealed keys stay. Its user does not wait for the room.
   *
   * @throws {StoreError} `not_found`; `room_owner`
   */
  removeMember(roomId: string, endpoint: string, author: Author): Promise<void>;
  /**
   * Moves the room to `epoch` with these keys and returns it.
   *
   * @throws {StoreError} `not_found`; `conflict`; `missing_key`: a member has no key
   */
  rekeyRoom(roomId: string, epoch: number, keys: SealedKey[], author: Author): Promise<Room>;
  /**
   * Stores or replaces a member's sealed key.
   *
   * @throws {StoreError} `not_found`; `conflict`: epoch is ahead of the room's
   */
  putSealedKey(key: SealedKey, author: Author): Promise<void>;
  /** Returns the key of `epoch`, or of the endpoint's highest epoch; `null` if there is none. */
  getSealedKey(roomId: string, endpoint: string, epoch: number | null): Promise<SealedKey | null>;
  /**
   * Lists the sealed keys of one epoch or of all.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  listSealedKeys(
    roomId: string,
    epoch: number | null,
    range: Range<SealedKeyCursor>,
  ): Promise<SealedKey[]>;
  /**
   * Removes up to {@link PRUNE_LIMIT} sealed keys of epochs up to the room's own minus `keep`, oldest
   * epochs first; returns how many.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  pruneSealedKeys(roomId: string, keep: number, author: Author): Promise<number>;
  /**
   * Stores a new user.
   *
   * @throws {StoreError} `user_exists`
   */
  addUser(user: User, author: Author): Promise<void>;
  /** Returns it, or `null` if it does not exist. */
  getUser(signPub: string): Promise<User | null>;
  /** All users. */
  listUsers(range: Range): Promise<User[]>;
  /**
   * Sets status and `revokedAt`. Idempotent.
   *
   * @throws {StoreError} `not_found`; `last_admin` without `force`
   */
  setUserStatus(
    signPub: string,
    status: UserStatus,
    at: string,
    force: boolean,
    author: Author,
  ): Promise<User>;
  /**
   * Sets the role. Idempotent.
   *
   * @throws {StoreError} `not_found`; `last_admin` without `force`
   */
  setUserRole(signPub: string, role: UserRole, force: boolean, author: Author): Promise<User>;
  /**
   * Deletes the user; memberships stay.
   *
   * @throws {StoreError} `not_found`; `last_admin` without `force`
   */
  deleteUser(signPub: string, force: boolean, author: Author): Promise<void>;
  /**
   * Returns whether the key belongs to an active user; a plain boolean if no wait is needed. If it
   * throws, the store answers no.
   */
  isAuthorized(signPub: string): boolean | Promise<boolean>;
  /** Returns whether there is an active admin. If it throws, the store answers no. */
  hasAdmin(): boolean | Promise<boolean>;
  /**
   * Stores a new invite.
   *
   * @throws {StoreError} `conflict`: the id exists; `not_found`: no such room
   */
  createInvite(invite: Invite, author: Author): Promise<void>;
  /** Returns it, or `null` if it does not exist. */
  getInvite(id: string): Promise<Invite | null>;
  /** All invites. */
  listInvites(range: Range): Promise<Invite[]>;
  /**
   * Uses up the invite and adds the user with the invite's role. If the invite names a room, the user
   * waits for it (see `waitAfterClaim` of the rules), also one that exists already.
   *
   * @throws {StoreError} `not_found`; `invite_used`, `invite_expired`, `invite_canceled`; `user_exists`: the
   * user exists already, and the invite is used up anyway
   */
  consumeInvite(id: string, user: User, author: Author): Promise<User>;
  /**
   * Cancels the invite. Idempotent.
   *
   * @throws {StoreError} `not_found`; `invite_used`
   */
  cancelInvite(id: string, at: string, author: Author): Promise<Invite>;
  /** Removes the invites that had ended at `before` (see `inviteEnd` of the rules); returns how many. */
  pruneInvites(before: string, author: Author): Promise<number>;
  /**
   * Returns all records as of one point in time, in canonical order: by {@link KINDS}, then by key as
   * the lists are. Sealed keys by room, epoch, endpoint.
   *
   * @param onRevision Called before the first record with a revision: the records include all changes up to
   * it, and none after it; `null` for none
   */
  records(
    signal?: AbortSignal,
    onRevision?: (revision: Revision | null) => void,
  ): AsyncIterable<StoreRecord>;
  /**
   * Stores records unchanged.
   *
   * @throws {StoreError} `refused`: the store is not empty and `replace` is not set
   */
  restore(
    records: AsyncIterable<StoreRecord>,
    options: RestoreOptions,
    author: Author,
  ): Promise<Counts>;
  /**
   * Calls `listener` on every change of access rights; returns a function that stops it. See {@link Store.watchAccess}.
   */
  watchAccess(listener: (change: AccessChange) => void): () => void;
  /** Runs the health checks. A rejection counts as not healthy. */
  health(): Promise<HealthCheck[]>;
  /** Aborts operations in progress and releases resources. */
  close(): Promise<void>;
}
