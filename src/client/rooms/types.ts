/**
 * The interface of encrypted rooms.
 *
 * @module
 */

import type { Member, MemberKeys, User } from "../../core/model.ts";
import type { Identity } from "../../keys/identity.ts";
import type { Connection, NatsOptions, TlsOptions } from "../../nats/connection/connect.ts";
import type { MessageHeader } from "../../sealing/message.ts";
import type { Client } from "../types.ts";

/**
 * Identifies a member to add: its card, its public keys, or its `signPub`. With only a `signPub`, the
 * client gets the X25519 key from the control plane and trusts it on first use. A card or keys that you
 * got over another channel are safer, because the control plane cannot substitute a key.
 */
export type CardOrKeys = string | MemberKeys;

/**
 * What a program remembers about rooms and peers, as text by key: a `Map`, or storage that survives a
 * restart, such as `fileMemory(path)`. It takes precedence over what the control plane says.
 */
export interface RoomMemory {
  /** Returns the value of a key. */
  get(key: string): string | undefined | Promise<string | undefined>;
  /** Sets the value of a key. */
  set(key: string, value: string): unknown;
}

/** A change of a room's owner that the control plane reports. */
export interface OwnerChange {
  /** The room. */
  roomId: string;
  /** The owner known so far. */
  from: string;
  /** The owner that the control plane names. */
  to: string;
}

/** Options of {@link openRooms}. */
export interface RoomsOptions {
  /** Client of the control plane, with the same identity. */
  client: Client;
  /** The identity that sends and receives. */
  identity: Identity;
  /**
   * How to connect to the bus, or an open connection (without `noEcho`), which the caller closes. With
   * `servers`, the connection also learns the servers of the other nodes from the control plane.
   */
  nats: Pick<NatsOptions, "servers" | "tls" | "bootstrapTimeout"> | { connection: Connection };
  /**
   * Whether to connect with a session's key ({@link openSession}) instead of the identity's own. Default:
   * if every node of the control plane supports it. Has no effect on an open connection.
   */
  session?: boolean;
  /**
   * Remembers the owner and the highest epoch of each room, and the X25519 key of each peer. Default: in
   * memory until the rooms are closed.
   */
  memory?: RoomMemory;
  /**
   * Called before a room's new owner is trusted, unless the owner has handed the room over by a statement
   * it signed. An admin can make another member the owner of a room whose owner is revoked, and a malicious
   * control plane could claim the same: let the user confirm it with the other members over another
   * channel. Only `true` accepts the new owner. Otherwise the room
   * fails with `wrong_sealer`, and it is not called again until the rooms are reopened. Default: refuse.
   */
  acceptOwner?: (change: OwnerChange) => boolean | Promise<boolean>;
  /** How long messages under the previous keys are accepted, milliseconds. Default 30 s. */
  oldEpochGrace?: number;
  /** Maximum difference between a message's time and the local clock, milliseconds. Default 5 minutes. */
  maxAge?: number;
  /** Interval at which each room is checked for changes, milliseconds. Default 30 s. */
  refreshInterval?: number;
  /** Time limit for sending a message, and for joining a room, milliseconds. Default 10 s. */
  sendTimeout?: number;
  /** Maximum number of queued messages in a room; beyond it the oldest are dropped. Default 4,096. */
  queueMessages?: number;
  /** Maximum size of the queued messages, bytes. Default 64 MiB. */
  queueBytes?: number;
  /**
   * Called for every rejected message and every failure in the background. `replayed` alone is no sign of
   * an attack: a sender that was slow to see its message on the bus has sent it again.
   */
  onProblem?: (problem: RoomProblem) => void;
  /** Closes the rooms. */
  signal?: AbortSignal;
}

/** A rejected message, or a failure in the background. */
export interface RoomProblem {
  /** The room; empty for the connection to the bus. */
  roomId: string;
  /** The cause: a {@link SealingError} for a message. */
  error: Error;
  /** The message's header, if it could be read. It is not authenticated: do not trust it. */
  header?: MessageHeader;
}

/** A decrypted and verified message from a member of a room. */
export interface RoomMessage {
  /** The content. */
  readonly data: Uint8Array;
  /** Returns the content as text. */
  text(): string;
  /** The sender's endpoint. */
  readonly sender: string;
  /** The epoch of the key it was encrypted with. */
  readonly epoch: number;
  /** Identifies a run of the sender's program; messages are numbered from 0 in each epoch of it. */
  readonly session: string;
  /** Its number within the session. */
  readonly seq: number;
  /** When it was sent, by the sender's clock. */
  readonly sentAt: Date;
  /** How many messages just before it in the session have not arrived (yet). */
  readonly missed: number;
  /** Whether a message that was sent later arrived earlier. */
  readonly late: boolean;
}

/** The members of a room that are here. */
export interface RoomPresence {
  /** Endpoints of the members that are here, this identity's included. */
  readonly here: ReadonlySet<string>;
  /** Whether the room has more than 100 members: then no one says whether it is here. */
  readonly isTooLarge: boolean;
}

/** A message that was sent and seen on the bus. */
export interface SentMessage {
  /** The epoch of the key it was encrypted with. */
  epoch: number;
  /** The session. */
  session: string;
  /** Its number within the session. */
  seq: number;
}

/** An encrypted room that the identity is a member of. */
export interface OpenRoom extends AsyncDisposable {
  /** Its id. */
  readonly id: string;
  /** The NATS subject of its messages. */
  readonly subject: string;
  /** Endpoint of the current owner, who creates and seals the keys. */
  readonly owner: string;
  /** The epoch of the newest key. */
  readonly epoch: number;
  /** Resolves when the room has ended: with the cause, or `null` if it was closed. */
  readonly ended: Promise<Error | null>;

  /**
   * Sends a message. Resolves when it has come back from the bus, so it was sent to all connected
   * members. Until then it is resent; receivers deliver it once.
   *
   * @throws {StoreError} `too_large`; `unavailable`: not seen on the bus within `sendTimeout`, but it may
   * have been sent; `aborted`; `closed`
   * @throws {SealingError} `removed`: the identity is no longer a member
   */
  send(data: Uint8Array | string, options?: { signal?: AbortSignal }): Promise<SentMessage>;
  /**
   * Iterates over the messages of others from now on. Ends when the room is closed.
   *
   * @throws {SealingError} `removed`: the identity is no longer a member
   */
  messages(options?: { signal?: AbortSignal }): AsyncIterableIterator<RoomMessage>;
  /**
   * Tells the other members that the identity is here, from now until the iteration ends, and iterates
   * over who is here: yields the newest state after each change. Only members whose clients call this are
   * seen. One that has not said so for about 75 seconds, by its clock and this one, is not here any more.
   * Without this method nothing is told.
   *
   * @throws {SealingError} `removed`: the identity is no longer a member
   *
   * @example
   * ```ts ignore
   * for await (const { here, isTooLarge } of kitchen.here()) {
   *   console.log(isTooLarge ? "Too many members" : `${here.size} here`);
   * }
   * ```
   */
  here(options?: { signal?: AbortSignal }): AsyncIterableIterator<RoomPresence>;
  /**
   * Decrypts a stored message of any epoch that the identity has a key for. Verifies that the sender
   * signed it and had the room's key, but not its age, whether it was seen before, or whether the sender
   * is or was a member.
   *
   * @throws {SealingError} a reason, such as `tampered`, `unknown_epoch`, or `malformed`: also for a notice,
   * which has no content
   */
  open(bytes: Uint8Array): Promise<RoomMessage>;

  /** Returns the members according to the control plane. */
  members(): Promise<Member[]>;
  /**
   * Checks the room for changes now, as it does every `refreshInterval`: for a newer key, another owner,
   * and the identity's removal. Does not throw: failures are reported to `onProblem`.
   */
  refresh(): Promise<void>;
  /** Returns the members without a copy of the newest key sealed by the owner. Owner only. */
  lacking(): Promise<string[]>;
  /**
   * Adds a member with the newest key, or seals that key again for an existing member. Owner only. A card
   * replaces an X25519 key that was remembered without one.
   *
   * @throws {SealingError} `key_changed`: its X25519 key is not the one remembered, and no card says it
   */
  addMember(member: CardOrKeys): Promise<void>;
  /**
   * Removes a member and creates a new key for the others. Owner only.
   *
   * @throws {StoreError} `not_found`
   */
  removeMember(endpoint: string): Promise<void>;
  /**
   * Creates a new key, sealed for all members. Owner only.
   *
   * @returns The new epoch
   * @throws {SealingError} `key_changed`: the control plane lists a member that the owner did not add, or
   * with another X25519 key
   */
  rekey(): Promise<number>;
  /**
   * Returns the users who used an invite to the room and wait to be added. Owner and admins only. Their
   * X25519 keys are those that the control plane names; a card is safer.
   */
  waiting(): Promise<User[]>;
  /**
   * Makes another member the owner: signs a statement, which members' clients verify. Creates a new key
   * first if the room was handed over at this epoch. The identity stays a member. Owner only.
   *
   * @throws {StoreError} `not_found`: no such member; `conflict`: it has not accepted, or lacks the newest
   * key; `unsupported`: the control plane did not do it
   */
  handOver(endpoint: string): Promise<void>;
  /**
   * Leaves the room; the owner's client then creates a new key.
   *
   * @throws {StoreError} `room_owner`: the owner cannot leave
   */
  leave(): Promise<void>;
  /** Stops sending and receiving. The membership stays. */
  close(): Promise<void>;
}

/** Options of {@link Rooms.createRoom}. */
export interface NewEncryptedRoom {
  /** Identifier: 1 to 256 bytes of UTF-8. */
  id: string;
  /** The members besides the identity. */
  members?: CardOrKeys[];
  /** NATS subject; only admins may choose it. */
  subject?: string;
}

/** The encrypted rooms of one identity, on one connection. */
export interface Rooms extends AsyncDisposable {
  /**
   * Creates a room with a new key, sealed for its members, and opens it.
   *
   * @throws {StoreError} `room_exists`: also if the client remembers an earlier room of that id; those of
   * {@link join}
   * @throws {SealingError} `key_changed`: a member's X25519 key is not the one remembered
   */
  createRoom(room: NewEncryptedRoom): Promise<OpenRoom>;
  /**
   * Opens a room that the identity is a member of or was offered: gets its newest key, verifies that the
   * owner sealed it for this identity, and accepts the membership. With `owner`, the room must have that
   * owner; otherwise the control plane is trusted the first time.
   *
   * With `startOver` the client first forgets the owners and the epoch that it remembers of the room, and
   * closes it if it is open. Only for a room that was restored from a backup, or of which it remembers a
   * wrong owner, and with an `owner` that the user has confirmed over another channel: a member who was
   * removed may have a key of an earlier epoch.
   *
   * @throws {StoreError} `invalid`: `startOver` without `owner`
   * @throws {StoreError} `not_found`; `unavailable`: the connection to the bus is closed, or the bus did
   * not accept the subscription within `sendTimeout`; `closed`
   * @throws {SealingError} `wrong_sealer`; `rolled_back`; `tampered`; `unknown_epoch`: there is no key
   * for this identity yet
   */
  join(roomId: string, options?: { owner?: string; startOver?: boolean }): Promise<OpenRoom>;
  /** Closes all rooms, and the connection unless the caller passed it in. */
  close(): Promise<void>;
}

export type { Connection, NatsOptions, TlsOptions };
