/**
 * What the client offers.
 *
 * @module
 */

import type {
  CreatedInvite,
  Invite,
  InviteState,
  KeyFor,
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
  User,
  UserRole,
  UserStatus,
} from "../core/model.ts";
import type { Changes, History, RoomRoster, ServerStatus, Usage } from "../core/operations.ts";
import type { Identity } from "../keys/identity.ts";

/** Sends a request. */
export type Fetch = (request: Request) => Promise<Response>;

/** What {@link createClient} takes. */
export interface ClientOptions {
  /** Where the control plane is, such as `https://bus.example:8470`. */
  url: string | URL;
  /** Who asks; without one, only what needs no signature can be asked. */
  identity?: Identity;
  /** PEM of the authorities to trust instead of the system's, for a private one. */
  ca?: string;
  /** Sends the requests. Default: the runtime's own `fetch`, or with `ca` one on `node:https`. */
  fetch?: Fetch;
  /** Most milliseconds of a call with all its retries. Default 10 s. */
  timeout?: number;
  /** Most retries of a call. Default 2. */
  retries?: number;
}

/** What a call of blobs may be given. */
export interface BlobCallOptions {
  /** Most milliseconds until the answer begins. Default 5 minutes. */
  timeout?: number;
  /** Ends the call, and a body that is still being read. */
  signal?: AbortSignal;
}

/**
 * Bytes to store: in memory, in a file, or a stream that comes with its SHA-256 in hex, which has to be
 * known before it is sent. A stream can be sent only once, so it is never retried.
 */
export type BlobSource =
  | Uint8Array
  | { path: string }
  | { stream: ReadableStream<Uint8Array>; digest: string };

/** A stored blob. */
export interface StoredBlob {
  /** SHA-256 of the bytes, hex. */
  id: string;
  /** Bytes. */
  size: number;
}

/** A blob, or the part asked for. */
export interface ReadBlob extends StoredBlob {
  /**
   * The bytes. The whole blob is compared with its id while it is read: the stream ends with a
   * `corrupt` error instead of an end when they differ. A part of one cannot be compared.
   */
  body: ReadableStream<Uint8Array>;
}

/** A room to make; who asks owns it. */
export type NewOwnRoom = Omit<NewRoom, "owner" | "subject"> & {
  /** Default: made from the id. */
  subject?: string;
  /** The caller's own X25519 key. Default: the one it is registered with. */
  kexPub?: string;
};

/** A member as a list of them shows it. */
export interface ListedMember extends Member {
  /** Whether its user may connect; `null` when it is no user. */
  status: UserStatus | null;
}

/** Which users to list; what is left out does not matter. */
export interface UserFilter {
  /** Contained in the handle, in any case, or what the signing key begins with: 1 to 64 characters. */
  search?: string;
  /** Of this role. */
  role?: UserRole;
  /** Of this status. */
  status?: UserStatus;
}

export type { InviteState };

/** Which changes to read. */
export interface ChangesRequest {
  /** The `next` of the answer before; left out, the newest there are. */
  after?: string;
  /** Most changes, 1 to 1,500; default 100. */
  limit?: number;
  /** Most seconds to wait for the first change behind `after`, 0 to 25; default 0. */
  wait?: number;
  /** Ends the call. */
  signal?: AbortSignal;
}

/** Who a key is. */
export interface Me {
  /** The key that signed. */
  endpoint: string;
  /** Its user; `null` only where the control plane does not look at signatures. */
  user: User | null;
}

/** Whether requests are welcome. */
export interface Readiness {
  /** Whether every check is. */
  ok: boolean;
  /** What was looked at; the detail, for people, is for those the server deems near. */
  checks: { name: string; ok: boolean; detail?: string }[];
}

/** The `cause` of a {@link StoreError} that a control plane answered. */
export interface HttpFailure {
  /** The HTTP status. */
  status: number;
  /** The code in the answer; `null` where it has none and may be a proxy's. */
  code: string | null;
  /** Names the request in the server's log. */
  requestId: string | null;
  /** Why a signature was refused. */
  reason?: string;
  /** Seconds the server asks to wait. */
  retryAfter?: number;
  /** The server's clock, as in the answer's `Date`. */
  serverTime?: string;
}

/** An invite that can be redeemed. */
export interface OpenInvite {
  /** What the new user may do. */
  role: UserRole;
  /** Until when, ISO 8601. */
  expiresAt: string;
}

/**
 * A control plane, over HTTP. Methods reject with a `StoreError` that has the server's code, message
 * and field, and a {@link HttpFailure} as cause; besides the codes each one names, any may reject with
 * `invalid`, `unauthenticated`, `forbidden`, `rate_limited`, and `unavailable`: no answer came, and what
 * was asked may have been done.
 *
 * A call is tried again when nothing can be done twice by it: reads and puts when no answer came or the
 * server cannot answer now, anything when it was refused by a rate limit or for too much load. All within
 * `timeout`.
 */
export interface Client extends Disposable {
  /** Redeems an invite, by its token or its link (`…#token`, of which only the token is sent): the identity becomes a user. `not_found`, `invite_used`, `invite_expired`, `invite_canceled`, `user_exists` */
  register(token: string, handle: string): Promise<User>;
  /**
   * Whether an invite, by its token or its link, can still be redeemed; spends nothing, and needs no identity. `not_found`,
   * `invite_used`, `invite_expired`, `invite_canceled`
   */
  checkInvite(token: string): Promise<OpenInvite>;
  /** Who the identity is. */
  me(): Promise<Me>;

  /** Lists users by signPub: all, or those that match. With a filter a page may be short of `limit`. */
  listUsers(page?: PageRequest & UserFilter): Promise<Page<User>>;
  /** Iterates over users as {@link listUsers} lists them, reading a page at a time. */
  users(page?: PageRequest & UserFilter): AsyncIterable<User>;
  /** Adds an active user. `user_exists` */
  addUser(user: NewUser): Promise<User>;
  /** Reads a user. `not_found` */
  getUser(signPub: string): Promise<User>;
  /** Takes a user's access. `not_found`, `last_admin` (unless `force`) */
  revokeUser(signPub: string, options?: { force?: boolean }): Promise<User>;
  /** Gives a revoked user access again. `not_found` */
  restoreUser(signPub: string): Promise<User>;
  /** Makes a user an admin, or no more. `not_found`, `last_admin` (unless `force`) */
  setUserRole(signPub: string, role: UserRole, options?: { force?: boolean }): Promise<User>;
  /**
   * Removes a user and ends its memberships, unless `keepMemberships`. Rooms it owns stay with it.
   * `not_found`, `last_admin` (unless `force`)
   */
  deleteUser(
    signPub: string,
    options?: { force?: boolean; keepMemberships?: boolean },
  ): Promise<void>;

  /** Lists invites by id: all, or those of one state. With a state a page may be short of `limit`. */
  listInvites(page?: PageRequest & { state?: InviteState }): Promise<Page<Invite>>;
  /** Iterates over invites as {@link listInvites} lists them, reading a page at a time. */
  invites(page?: PageRequest & { state?: InviteState }): AsyncIterable<Invite>;
  /** Makes a single-use invite. The token is in the answer and nowhere else. */
  createInvite(invite?: Omit<NewInvite, "createdBy">): Promise<CreatedInvite>;
  /** Reads an invite. `not_found` */
  getInvite(id: string): Promise<Invite>;
  /** Cancels an invite. `not_found`, `invite_used` */
  cancelInvite(id: string): Promise<Invite>;

  /**
   * Lists the rooms the identity is in, by id; `all`: every room, for admins. `accepted: true` lists only
   * those it has accepted, `false` only offers.
   */
  listRooms(page?: PageRequest & { all?: boolean; accepted?: boolean }): Promise<Page<Room>>;
  /** Iterates over rooms as {@link listRooms} lists them, reading a page at a time. */
  rooms(page?: PageRequest & { all?: boolean; accepted?: boolean }): AsyncIterable<Room>;
  /** Makes a room at epoch 1, which the identity owns. `room_exists` */
  createRoom(room: NewOwnRoom): Promise<Room>;
  /** Reads a room. `not_found` */
  getRoom(id: string): Promise<Room>;
  /** Removes a room with its members and sealed keys. `not_found` */
  deleteRoom(id: string): Promise<void>;

  /** Lists a room's members by endpoint, each with the status of its user. `not_found` */
  listMembers(roomId: string, page?: PageRequest): Promise<Page<ListedMember>>;
  /** Iterates over a room's members as {@link listMembers} lists them, reading a page at a time. */
  members(roomId: string, page?: PageRequest): AsyncIterable<ListedMember>;
  /**
   * Adds a member, with its sealed key of the room's current epoch. It is an offer, which the member has
   * to accept, unless an admin adds it. `not_found`, `member_exists`, `conflict`, `rate_limited` (too many
   * open offers)
   */
  addMember(
    roomId: string,
    member: MemberToAdd,
    key?: Omit<KeyFor, "endpoint"> & { epoch: number },
  ): Promise<Member>;
  /** Reads a membership. `not_found` */
  getMember(roomId: string, endpoint: string): Promise<Member>;
  /** Accepts an offered membership of the identity. Idempotent. `not_found` */
  joinRoom(roomId: string): Promise<Member>;
  /**
   * Gives a room whose owner is revoked or deleted to another member; for admins. `not_found`, `conflict`
   * (the member has not accepted, or lacks the current key), `refused` (the owner is an active user)
   */
  changeRoomOwner(roomId: string, endpoint: string): Promise<Room>;
  /** Ends a membership; rekey the room to shut it out of what comes. `not_found`, `room_owner` */
  removeMember(roomId: string, endpoint: string): Promise<void>;

  /** Moves a room to its next epoch with the new key sealed for every member. `not_found`, `conflict`, `missing_key` */
  rekeyRoom(roomId: string, rekey: Rekey): Promise<Room>;
  /** Reads the identity's sealed key: of `epoch`, or of the latest there is. `not_found` */
  getSealedKey(roomId: string, epoch?: number): Promise<SealedKey>;
  /** Stores or replaces a member's sealed key. `not_found`, `conflict` */
  putSealedKey(key: NewSealedKey): Promise<SealedKey>;
  /** Lists a room's sealed keys, of one epoch or all. `not_found` */
  listSealedKeys(
    roomId: string,
    options?: PageRequest & { epoch?: number },
  ): Promise<Page<SealedKey>>;
  /** Iterates over a room's sealed keys, of one epoch or all, reading a page at a time. `not_found` */
  sealedKeys(
    roomId: string,
    options?: PageRequest & { epoch?: number },
  ): AsyncIterable<SealedKey>;

  /** Stores a blob; the same bytes again change nothing. `too_large`, `quota_exceeded` */
  putBlob(source: BlobSource, options?: BlobCallOptions): Promise<StoredBlob>;
  /** Reads a blob, or its bytes from `start` to `end` (inclusive). `not_found` */
  getBlob(
    id: string,
    options?: BlobCallOptions & { start?: number; end?: number },
  ): Promise<ReadBlob>;
  /** Whether a blob is there, and its size. `not_found` */
  statBlob(id: string): Promise<StoredBlob>;
  /**
   * Deletes a blob that the identity has put: the bytes go when nobody else has put them. An admin
   * deletes those of others, and with `all` also one's own that others have put too. `not_found`,
   * `forbidden`
   */
  deleteBlob(id: string, options?: { all?: boolean }): Promise<void>;

  /** A room with its members' names, and which of them lack its current key; for admins. `not_found` */
  roomRoster(roomId: string, options?: PageRequest & { lacking?: boolean }): Promise<RoomRoster>;
  /** How the server does, and the cluster behind it; for admins. */
  status(): Promise<ServerStatus>;
  /** How many blobs there are, and how many bytes; for admins. */
  usage(): Promise<Usage>;
  /** Requests, refusals and latency of the server in the last hour; for admins. */
  history(): Promise<History>;
  /** What was changed through the server, newest first; for admins. */
  changes(options?: ChangesRequest): Promise<Changes>;

  /** Whether the process answers. */
  isAlive(): Promise<boolean>;
  /** Whether requests are welcome, and what is not so. Rejects only when no answer came. */
  readiness(): Promise<Readiness>;
  /** The metrics, in the text format of Prometheus. */
  metrics(): Promise<string>;
  /** The OpenAPI description. */
  openApi(): Promise<Record<string, unknown>>;

  /** Closes connections that are kept open; later calls reject with `closed`. */
  close(): void;
}
