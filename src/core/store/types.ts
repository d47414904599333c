/**
 * The interface of a store, the same on every backend.
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
  NewInvite,
  NewRoom,
  Page,
  PageRequest,
  Room,
  SealedKey,
  StoreHealth,
  StoreRecord,
  User,
} from "../model.ts";
import type { Author } from "../history/entry.ts";
import type { HistoryMethods } from "../history/methods.ts";
import type { Search } from "./search.ts";
import type { RecordMethods } from "./records.ts";

/**
 * The control plane's store. Every method is one transaction: all of it happens or none, even if the
 * process is killed in the middle. Methods reject with a `StoreError`. Besides the codes listed with
 * each method, any may reject with `invalid` (nothing was written), `unavailable` and `closed`.
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
export interface Store extends RecordMethods, HistoryMethods, AsyncDisposable {
  /** The backend's short name: `sqlite` or `jetstream`. */
  readonly backend: string;
  /** Whether opening the store created its file or bucket. */
  readonly created: boolean;
  /**
   * The generation of the control plane: grows when it moves to another backend, or a second copy is
   * promoted. Of two that both answer, the one with the lower generation is out of date.
   */
  readonly generation: number;
  /**
   * Searches, sorts and counts users and rooms. Absent for a store in JetStream without a follower. Use
   * the store's other methods to decide anything: a follower may be behind.
   */
  readonly search?: Search;

  /**
   * Creates a room at epoch 1 with its owner, first members and their sealed keys.
   *
   * @throws {StoreError} `room_exists`
   */
  createRoom(room: NewRoom): Promise<Room>;
  /** Lists rooms by id (UTF-8 bytes). */
  listRooms(page?: PageRequest): Promise<Page<Room>>;
  /** Iterates over {@link listRooms}, one page at a time. */
  rooms(page?: PageRequest): AsyncIterable<Room>;
  /**
   * Lists the rooms that an endpoint is a member of, by id; `accepted: true` lists only those it has
   * accepted, `false` only offers. An unknown endpoint gives an empty page.
   */
  listRoomsForEndpoint(
    endpoint: string,
    page?: PageRequest & { accepted?: boolean },
  ): Promise<Page<Room>>;
  /** Iterates over {@link listRoomsForEndpoint}, one page at a time. */
  roomsForEndpoint(
    endpoint: string,
    page?: PageRequest & { accepted?: boolean },
  ): AsyncIterable<Room>;

  /**
   * Lists a room's members by endpoint.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  listMembers(roomId: string, page?: PageRequest): Promise<Page<Member>>;
  /** Iterates over {@link listMembers}, one page at a time. */
  members(roomId: string, page?: PageRequest): AsyncIterable<Member>;
  /** Returns the number of members of a room; 0 if the room does not exist. May be slightly stale. */
  countMembers(roomId: string): Promise<number>;
  /**
   * Accepts an offered membership. Idempotent.
   *
   * @throws {StoreError} `not_found`: no such room or member
   */
  joinRoom(roomId: string, endpoint: string): Promise<Member>;

  /**
   * Returns an endpoint's sealed key of `epoch`, or of the latest epoch it has a key for.
   *
   * @throws {StoreError} `not_found`
   */
  getSealedKey(roomId: string, endpoint: string, epoch?: number): Promise<SealedKey>;
  /**
   * Removes a room's sealed keys except those of the newest `keep` epochs (at least 2). One call
   * removes up to 20,000 keys, oldest epochs first; call it again for the rest.
   *
   * @returns The number of keys removed
   * @throws {StoreError} `not_found`: no such room
   */
  pruneSealedKeys(roomId: string, keep: number): Promise<number>;

  /** Lists users by signPub. */
  listUsers(page?: PageRequest): Promise<Page<User>>;
  /** Iterates over {@link listUsers}, one page at a time. */
  users(page?: PageRequest): AsyncIterable<User>;
  /**
   * Deletes a user but not its memberships, which take effect again if a user with the same key is
   * added. Use `removeUser` to remove both.
   *
   * @throws {StoreError} `not_found`; `last_admin` without `force`
   */
  deleteUser(signPub: string, options?: { force?: boolean }): Promise<void>;
  /** Returns whether the key belongs to an active user. Never rejects: `false` on any error or doubt. */
  isAuthorized(signPub: string): Promise<boolean>;
  /** Returns whether there is an active admin. Never rejects: `false` on any error or doubt. */
  hasAdmin(): Promise<boolean>;

  /**
   * Creates a single-use invite. The token is only in the result: it is not stored.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  createInvite(invite: NewInvite): Promise<CreatedInvite>;
  /** Lists invites by id. */
  listInvites(page?: PageRequest): Promise<Page<Invite>>;
  /** Iterates over {@link listInvites}, one page at a time. */
  invites(page?: PageRequest): AsyncIterable<Invite>;
  /**
   * Claims an invite by its token or its link (`…#token`) and adds the user with the invite's role.
   * Only one of several concurrent claims succeeds. If the invite names a room, the user waits for it:
   * {@link listWaiting} lists it until it is added.
   *
   * @throws {StoreError} `not_found`; `invite_used`, `invite_expired`, `invite_canceled`;
   * `user_exists`: the key is already registered, and the invite is used up anyway
   */
  consumeInvite(token: string, claim: Claim): Promise<User>;
  /**
   * Removes invites that were used, canceled or expired at `before` (ISO 8601, UTC with milliseconds;
   * a time in the future counts as now). Their tokens are then `not_found`. An invite that can still be
   * claimed is never removed.
   *
   * @returns The number of invites removed
   */
  pruneInvites(before: string): Promise<number>;

  /**
   * Streams every record as of one point in time, in canonical order. `onRevision` is called before the
   * first one, if the store keeps a history: the records include all changes up to that revision, and none
   * after it.
   */
  records(options?: {
    signal?: AbortSignal;
    onRevision?: (revision: string | null) => void;
  }): AsyncIterable<StoreRecord>;
  /**
   * Stores records unchanged, including epochs, statuses and times. They must be consistent with each
   * other and come in canonical order.
   *
   * @throws {StoreError} `refused`: the store is not empty and `replace` is not set; `invalid`;
   * `aborted`
   */
  restore(
    records: AsyncIterable<StoreRecord> | Iterable<StoreRecord>,
    options?: RestoreOptions,
  ): Promise<Counts>;

  /**
   * Returns this store in somebody's name: its history says that the changes made through it are
   * theirs. Without it they are the `library`'s.
   *
   * @param actor An endpoint, or another text of at most 128 characters
   */
  as(actor: string): ActingStore;

  /**
   * Calls `listener` after every change of access rights, by this store, by another process on the
   * same file or by another node on the same bucket: within 250 ms while the backend responds, at least
   * once for each change, and sometimes without a change. If a change may have been missed or cannot be
   * attributed, the listener is called with `{}`. What it reads through this store is at least as new as
   * the change. The listener is not awaited, and its errors are ignored.
   *
   * @returns A function that removes the listener. Idempotent.
   * @throws {StoreError} `closed`
   */
  watchAccess(listener: (change: AccessChange) => void): () => void;
  /** Checks whether the store is working. Never rejects. */
  health(): Promise<StoreHealth>;
  /** Closes the store; later calls reject with `closed`. Idempotent. */
  close(): Promise<void>;
}

/** A store in somebody's name. The store that made it closes it. */
export interface ActingStore extends Omit<Store, "close" | typeof Symbol.asyncDispose> {
  /** The newest revision of the changes made through it; null before the first. */
  readonly revision: string | null;
}

/** Options of {@link createStore}. */
export interface StoreOptions {
  /** Returns the current time, for tests. Default: the system clock. */
  clock?: () => Date;
}

/** What the methods of a store share. */
export interface Shared {
  /** Returns the backend; throws `closed` if the store is closed. */
  open(): Backend;
  /** Returns the current time, ISO 8601. */
  now(): string;
  /** Returns the author of a change that is made now. */
  author(): Author;
}
