/**
 * The interface of the HTTP client.
 *
 * @module
 */

import type {
  CreatedInvite,
  Invite,
  InviteState,
  Member,
  NewInvite,
  NewRoom,
  Page,
  PageRequest,
  Room,
  SealedKey,
  User,
  UserRole,
  UserStatus,
} from "../core/model.ts";
import type {
  Changes,
  ControlPlaneNodes,
  History,
  PlaneCounts,
  RoomRoster,
  ServerStatus,
  Usage,
  UserActivity,
} from "../core/operations.ts";
import type { HistoryEntry } from "../core/history/entry.ts";
import type { HistoryQuery } from "../core/history/methods.ts";
import type { Found, RoomQuery, UserQuery } from "../core/store/search.ts";
import type { RecordMethods } from "../core/store/records.ts";
import type { Identity } from "../keys/identity.ts";

/** Sends a request and returns the response, such as `fetch`. */
export type Fetch = (request: Request) => Promise<Response>;

/** Options of {@link createClient}. */
export interface ClientOptions {
  /**
   * URL of the control plane, such as `https://bus.example:8470`, or the URLs of several of its nodes.
   * Calls go to one node that answers, and to another when it fails. A text may contain several URLs,
   * separated by commas.
   */
  url: string | URL | readonly (string | URL)[];
  /**
   * Whether to learn the URLs of other nodes from the server, and to use them while none of `url`
   * answers. Only over https, or on loopback. Default true.
   */
  learnNodes?: boolean;
  /** Signs the requests. Without it, only methods that need no signature can be called. */
  identity?: Identity;
  /** PEM of the certificate authorities to trust instead of the system's. */
  ca?: string;
  /** Sends the requests. Default: the runtime's `fetch`, or with `ca` one based on `node:https`. */
  fetch?: Fetch;
  /** Time limit of a call with all its retries, milliseconds. Default 10 s. */
  timeout?: number;
  /** Maximum number of retries of a call. Default 2. */
  retries?: number;
  /**
   * The lowest generation of a control plane to accept, as an earlier client's `generation`. Default 0.
   * A response with a lower one than this client has seen is `refused`.
   */
  generation?: number;
  /**
   * The revision that reads must include, as an earlier client's `revision`, so that a user sees what was
   * written through that client. Default: none.
   */
  revision?: string;
}

/** Options of the methods for blobs. */
export interface BlobCallOptions {
  /** Time limit until the response begins, milliseconds. Default 5 minutes. */
  timeout?: number;
  /** Aborts the call, and the body that is being read. */
  signal?: AbortSignal;
}

/**
 * Bytes to store: in memory, in a file, or a stream with its SHA-256 in hex, which must be known before
 * the upload starts. An upload from a stream is never retried.
 */
export type BlobSource =
  | Uint8Array
  | { path: string }
  | { stream: ReadableStream<Uint8Array>; digest: string };

/** A stored blob. */
export interface StoredBlob {
  /** SHA-256 of the bytes, hex. */
  id: string;
  /** Size in bytes. */
  size: number;
}

/** A blob and its bytes, or the requested range of them. */
export interface ReadBlob extends StoredBlob {
  /**
   * The bytes. A whole blob is verified while it is read: if its SHA-256 is not its id, the stream fails
   * with `corrupt` at the end. A range is not verified.
   */
  body: ReadableStream<Uint8Array>;
}

/** A room to create, owned by the caller. */
export type NewOwnRoom = Omit<NewRoom, "owner" | "subject"> & {
  /** NATS subject. Default: derived from the id. */
  subject?: string;
  /** The caller's X25519 key. Default: the one it is registered with. */
  kexPub?: string;
};

/** A member of a room and the status of its user. */
export interface ListedMember extends Member {
  /** Status of its user; `null` if there is no such user. */
  status: UserStatus | null;
  /** Name of its user; `null` if there is no such user. Only if asked for, and not by a server of version 0.1. */
  handle?: string | null;
}

/** Which members to list. */
export interface MembersRequest extends PageRequest {
  /** Whether to list their names too. Default false: it costs the server a read for each member. */
  handles?: boolean;
}

/** Which changes to read. */
export interface ChangesRequest extends HistoryQuery {
  /** Time to wait if no change matches yet, in seconds, 0 to 25; default 0. */
  wait?: number;
  /** Aborts the call. */
  signal?: AbortSignal;
}

/** The caller as the control plane sees it. */
export interface Me {
  /** The key that signed the request. */
  endpoint: string;
  /** Its user; `null` only if the control plane does not check signatures. */
  user: User | null;
  /** The rooms that the user was invited to and waits for, until their owners add it. */
  waitingFor: string[];
}

/** Whether a server is ready for requests. */
export interface Readiness {
  /** Whether every check passed. */
  ok: boolean;
  /** The checks. `detail`, for people, is only sent to clients that the server considers local. */
  checks: { name: string; ok: boolean; detail?: string }[];
}

/** The `cause` of a {@link StoreError} that a control plane returned. */
export interface HttpFailure {
  /** The HTTP status. */
  status: number;
  /** The code in the response; `null` if it has none, as in a proxy's page. */
  code: string | null;
  /** Identifies the request in the server's log. */
  requestId: string | null;
  /** Why authentication failed or the server refused the request. */
  reason?: string;
  /** Seconds to wait before a retry. */
  retryAfter?: number;
  /** The server's time: the `Date` header of the response. */
  serverTime?: string;
}

/** An invite that can still be claimed. */
export interface OpenInvite {
  /** The role of the new user. */
  role: UserRole;
  /** When it expires, ISO 8601. */
  expiresAt: string;
  /** The room that the new user will wait for, until its owner adds it. Absent for none. */
  room?: string;
}

/**
 * A control plane over HTTP. Methods reject with a `StoreError` that has the server's code, message and
 * field, and a {@link HttpFailure} as its cause. Besides the codes listed with each method, any may
 * reject with `invalid`, `unauthenticated`, `forbidden`, `rate_limited`, and `unavailable`: there was no
 * response, and the outcome of a write is unknown.
 *
 * A call is retried within `timeout` if repeating it is safe: reads and puts if there was no response or
 * the server was unavailable; every call if it was refused by a rate limit, because of overload, or by a
 * node that starts or stops. With several nodes it is sent to another one at once, also every call for
 * which no connection was made.
 */
export interface Client extends RecordMethods, Disposable {
  /** The highest generation of the control plane that a response had; see {@link ClientOptions}. */
  readonly generation: number;
  /**
   * The revision of the newest change made through this client; null before the first. It is sent with
   * every call, and what a call reads on any node includes everything up to it. A node that is further
   * behind is `unavailable`.
   */
  readonly revision: string | null;
  /**
   * The authority of the control plane, such as `bus.example:8470`, for which sessions are certified: of
   * the given URL that was used last.
   */
  readonly authority: string;
  /**
   * Milliseconds that the control plane's clock is ahead of the local one, known after it has refused a
   * request for its time; else 0.
   */
  readonly clockOffset: number;
  /**
   * Claims an invite by its token or its link (`…#token`): the identity becomes a user. Of a link, only
   * the token is sent.
   *
   * @throws {StoreError} `not_found`; `invite_used`, `invite_expired`, `invite_canceled`; `user_exists`:
   * the key is already registered, and the invite is used up anyway
   */
  register(token: string, handle: string): Promise<User>;
  /**
   * Checks whether an invite can still be claimed, by its token or its link, without claiming it. Needs
   * no identity.
   *
   * @throws {StoreError} `not_found`; `invite_used`, `invite_expired`, `invite_canceled`
   */
  checkInvite(token: string): Promise<OpenInvite>;
  /** Returns the caller's key and user. */
  me(): Promise<Me>;
  /**
   * Returns the nodes of the control plane and their URLs; none if the client was given a URL without
   * TLS that is not on loopback, because anyone on the network could have written the response.
   */
  nodes(): Promise<ControlPlaneNodes>;

  /**
   * Lists users by signPub, or as a query says; for admins.
   *
   * @throws {StoreError} `unsupported`: a query, and the server has no follower
   */
  listUsers(page?: UserQuery & { unseenSince?: string }): Promise<Found<User>>;
  /** Iterates over {@link listUsers}, one page at a time. */
  users(page?: UserQuery): AsyncIterable<User>;
  /**
   * Deletes a user and its memberships, unless `keepMemberships`. It stays the owner of its rooms.
   *
   * @throws {StoreError} `not_found`; `last_admin` without `force`
   */
  deleteUser(
    signPub: string,
    options?: { force?: boolean; keepMemberships?: boolean },
  ): Promise<void>;

  /** Lists invites by id. With a state, a page may have fewer than `limit` items. */
  listInvites(page?: PageRequest & { state?: InviteState }): Promise<Page<Invite>>;
  /** Iterates over {@link listInvites}, one page at a time. */
  invites(page?: PageRequest & { state?: InviteState }): AsyncIterable<Invite>;
  /**
   * Creates a single-use invite. The token is only in the result: it is not stored.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  createInvite(invite?: Omit<NewInvite, "createdBy">): Promise<CreatedInvite>;

  /**
   * Lists the identity's rooms by id, or with `all` (admins only) every room, or as a query says.
   * `accepted: true` lists only those it has accepted, `false` only offers.
   *
   * @throws {StoreError} `unsupported`: a query, and the server has no follower
   */
  listRooms(page?: RoomQuery & { all?: boolean }): Promise<Found<Room>>;
  /** Iterates over {@link listRooms}, one page at a time. */
  rooms(page?: RoomQuery & { all?: boolean }): AsyncIterable<Room>;
  /**
   * Creates a room at epoch 1, owned by the identity.
   *
   * @throws {StoreError} `room_exists`
   */
  createRoom(room: NewOwnRoom): Promise<Room>;

  /**
   * Lists a room's members by endpoint, each with the status of its user, and with its name if wanted.
   *
   * @throws {StoreError} `not_found`
   */
  listMembers(roomId: string, page?: MembersRequest): Promise<Page<ListedMember>>;
  /** Iterates over {@link listMembers}, one page at a time. */
  members(roomId: string, page?: MembersRequest): AsyncIterable<ListedMember>;
  /**
   * Accepts an offered membership of the identity. Idempotent.
   *
   * @throws {StoreError} `not_found`
   */
  joinRoom(roomId: string): Promise<Member>;

  /**
   * Returns the identity's sealed key of `epoch`, or of the latest epoch it has a key for.
   *
   * @throws {StoreError} `not_found`
   */
  getSealedKey(roomId: string, epoch?: number): Promise<SealedKey>;

  /**
   * Stores a blob. Idempotent.
   *
   * @throws {StoreError} `too_large`; `quota_exceeded`
   */
  putBlob(source: BlobSource, options?: BlobCallOptions): Promise<StoredBlob>;
  /**
   * Reads a blob, or its bytes from `start` to `end` (inclusive).
   *
   * @throws {StoreError} `not_found`
   */
  getBlob(
    id: string,
    options?: BlobCallOptions & { start?: number; end?: number },
  ): Promise<ReadBlob>;
  /**
   * Returns the size of a blob.
   *
   * @throws {StoreError} `not_found`
   */
  statBlob(id: string): Promise<StoredBlob>;
  /**
   * Deletes a blob that the identity has stored. The bytes are deleted when no other user has stored
   * them. An admin can delete blobs of others, and with `all` also one that it and others have stored.
   *
   * @throws {StoreError} `not_found`; `forbidden`
   */
  deleteBlob(id: string, options?: { all?: boolean }): Promise<void>;

  /**
   * Returns a room with its members' names, and which of them lack the current key. For admins.
   *
   * @throws {StoreError} `not_found`
   */
  roomRoster(roomId: string, options?: PageRequest & { lacking?: boolean }): Promise<RoomRoster>;
  /** Returns the status of the server and its cluster. For admins. */
  status(): Promise<ServerStatus>;
  /** Returns a user's open bus connections and its last request to this server. For admins. */
  userActivity(signPub: string): Promise<UserActivity>;
  /** Returns how many users, rooms, invites, connections and changes there are. For admins. */
  counts(): Promise<PlaneCounts>;
  /** Returns the number and size of stored blobs. For admins. */
  usage(): Promise<Usage>;
  /**
   * Downloads a snapshot of all records and the history, as `membershipd snapshot export` writes it. The
   * stream fails if it is cut off; `membershipd snapshot verify` checks the file. For admins.
   *
   * @throws {StoreError} `rate_limited`: another snapshot is being downloaded; `corrupt`: records are
   * invalid
   */
  snapshot(options?: BlobCallOptions): Promise<ReadableStream<Uint8Array>>;
  /** Returns requests, refusals and latency of the server in the last hour. For admins. */
  history(): Promise<History>;
  /**
   * Lists who changed what, in the order of the changes or the newest first. For admins.
   *
   * @throws {StoreError} `too_old`: changes after `after` have been pruned; `unsupported`: the control
   * plane keeps no history
   */
  changes(options?: ChangesRequest): Promise<Changes>;
  /**
   * Iterates over changes as they are made: every change once, in order, also across failures of the
   * server and calls to other nodes. To continue later, pass the revision of the last entry as `after`.
   * `null` begins with the oldest entry; by default only changes from now on are returned. Ends when
   * `signal` is aborted. For admins.
   *
   * @throws {StoreError} `too_old`: changes after `after` have been pruned; `unsupported`: the control
   * plane keeps no history
   */
  follow(
    options?: { after?: string | null; signal?: AbortSignal },
  ): AsyncIterable<HistoryEntry>;

  /** Returns whether the server responds. */
  isAlive(): Promise<boolean>;
  /** Returns whether the server is ready, and which checks failed. Rejects only without a response. */
  readiness(): Promise<Readiness>;
  /** Returns the metrics in Prometheus text format. */
  metrics(): Promise<string>;
  /** Returns the OpenAPI description. */
  openApi(): Promise<Record<string, unknown>>;

  /** Closes idle connections; later calls reject with `closed`. */
  close(): void;
}
