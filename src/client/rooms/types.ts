/**
 * What rooms offer.
 *
 * @module
 */

import type { Connection } from "../../nats/connection/connect.ts";
import type { Member, NewMember } from "../../core/model.ts";
import type { NatsOptions, TlsOptions } from "../../nats/connection/connect.ts";
import type { MessageHeader } from "../../sealing/message.ts";
import type { Identity } from "../../keys/identity.ts";
import type { Client } from "../types.ts";

/**
 * Who is put into a room: its card (best: nobody in between can give another key for it), its keys, or
 * its `signPub` alone. Then the control plane is asked for its X25519 key, and believed the first time.
 */
export type Invitee = string | NewMember;

/**
 * What a program knows of others from before, as text by key: a `Map`, or something that keeps it over
 * a restart, such as `fileMemory(path)`. What is read here is believed, and the control plane is not where it says otherwise.
 */
export interface RoomMemory {
  /** Reads. */
  get(key: string): string | undefined | Promise<string | undefined>;
  /** Writes. */
  set(key: string, value: string): unknown;
}

/** Another owner of a room than the one that was known. */
export interface OwnerChange {
  /** The room. */
  roomId: string;
  /** The owner that was known. */
  from: string;
  /** The owner that the control plane names. */
  to: string;
}

/** What {@link openRooms} takes. */
export interface RoomsOptions {
  /** The control plane; its identity must be the same. */
  client: Client;
  /** Who takes part. */
  identity: Identity;
  /** Where the bus is, or a connection that the caller made (not with `noEcho`) and closes. */
  nats: Pick<NatsOptions, "servers" | "tls" | "bootstrapTimeout"> | { connection: Connection };
  /**
   * Remembers the owner and the highest epoch of each room, and the X25519 key of each peer. Default: as
   * long as these rooms are open.
   */
  memory?: RoomMemory;
  /**
   * Asked before a room's new owner is trusted: an admin can give a room whose owner is revoked to another
   * member, and a control plane that lies could say so too. Ask the person, who asks the others. Only
   * `true` is yes. A no stands as long as these rooms are open: `wrong_sealer`. Default: no.
   */
  acceptOwner?: (change: OwnerChange) => boolean | Promise<boolean>;
  /** How long messages under a replaced key are taken, milliseconds. Default 30 s. */
  oldEpochGrace?: number;
  /** How old, or ahead of our clock, a message may be, milliseconds. Default 5 minutes. */
  maxAge?: number;
  /** How often the room is asked for, milliseconds. Default 30 s. */
  refreshInterval?: number;
  /** How long a message may take to be seen on the bus, and a room to be joined. Default 10 s. */
  sendTimeout?: number;
  /** Messages that may wait for us in a room; of more, the oldest are let go. Default 4,096. */
  queueMessages?: number;
  /** Their bytes. Default 64 MiB. */
  queueBytes?: number;
  /** Told of every message that was not taken, and of what failed in the background. */
  onProblem?: (problem: RoomProblem) => void;
  /** Closes the rooms. */
  signal?: AbortSignal;
}

/** A message that was not taken, or something in the background that failed. */
export interface RoomProblem {
  /** The room; empty where it is about the connection to the bus. */
  roomId: string;
  /** Why: a {@link SealingError} where it is about a message. */
  error: Error;
  /** What the message said of itself, where it could be read; not to be believed. */
  header?: MessageHeader;
}

/** A message of a room, opened: its sender is a member, and nothing of it was changed. */
export interface RoomMessage {
  /** What was sent. */
  readonly data: Uint8Array;
  /** The same as text. */
  text(): string;
  /** The endpoint that sent it. */
  readonly sender: string;
  /** The epoch of the key it came under. */
  readonly epoch: number;
  /** Names the sender's start; its messages are numbered from 0 in each epoch of it. */
  readonly session: string;
  /** Its number. */
  readonly seq: number;
  /** When it was sent, by the sender's clock. */
  readonly sentAt: Date;
  /** How many of the session just before it have not come (yet). */
  readonly missed: number;
  /** Whether one that was sent after it came before it. */
  readonly late: boolean;
}

/** A message that was seen on the bus. */
export interface SentMessage {
  /** The epoch of the key it went under. */
  epoch: number;
  /** The session. */
  session: string;
  /** Its number within the session. */
  seq: number;
}

/** An encrypted room that one is in. */
export interface OpenRoom extends AsyncDisposable {
  /** Its id. */
  readonly id: string;
  /** The NATS subject of its messages. */
  readonly subject: string;
  /** The endpoint that owns it now, and seals its keys. */
  readonly owner: string;
  /** The epoch of the newest key we have. */
  readonly epoch: number;
  /** Resolves when it has ended: with why, or `null` when it was closed. */
  readonly ended: Promise<Error | null>;

  /**
   * Sends a message. Resolves when it came back from the bus, so everybody who was connected had it sent
   * to them; it is sent again meanwhile, and receivers take it once. `too_large`, `unavailable` (not
   * seen in `sendTimeout`; it may still have been sent), `aborted`, `removed`
   */
  send(data: Uint8Array | string, options?: { signal?: AbortSignal }): Promise<SentMessage>;
  /**
   * The messages of the others, from the call on. Ends when the room is closed; throws a
   * {@link SealingError} `removed` when this member is.
   */
  messages(options?: { signal?: AbortSignal }): AsyncIterableIterator<RoomMessage>;
  /**
   * Opens a message that was kept, of any epoch we have a key of. Its sender signed it, and had the
   * room's key; not looked at is when it came, how often, and whether its sender is or was a member.
   */
  open(bytes: Uint8Array): Promise<RoomMessage>;

  /** Who is in it, as the control plane says. */
  members(): Promise<Member[]>;
  /** Whether the newest key was sealed by us for each member. Owner only. */
  lacking(): Promise<string[]>;
  /** Puts somebody in, with the newest key; again seals it anew. Owner only. `key_changed` */
  invite(who: Invitee): Promise<void>;
  /** Takes a member out, and gives those who stay a new key. Owner only. `not_found` */
  removeMember(endpoint: string): Promise<void>;
  /**
   * Gives all members a new key. Owner only. `key_changed` where the control plane lists somebody whom
   * the owner did not let in, or with another key
   */
  rekey(): Promise<number>;
  /** Leaves; the owner's program then makes a new key. Not for the owner. `room_owner` */
  leave(): Promise<void>;
  /** Ends it here. */
  close(): Promise<void>;
}

/** What {@link Rooms.createRoom} takes. */
export interface NewEncryptedRoom {
  /** Identifier: 1 to 256 bytes of UTF-8. */
  id: string;
  /** Who is in it besides us. */
  members?: Invitee[];
  /** NATS subject; only admins may choose it. */
  subject?: string;
}

/** The encrypted rooms of one identity, on one connection. */
export interface Rooms extends AsyncDisposable {
  /** Makes a room with a fresh key, sealed for its members. `room_exists`, `key_changed` */
  createRoom(room: NewEncryptedRoom): Promise<OpenRoom>;
  /**
   * Opens a room one is in, or was offered: gets its key, makes sure that it is sealed by the owner, for
   * us, and accepts the membership. With `owner`, it must be that one; else the control plane is believed
   * the first time. `not_found`,
   * `wrong_sealer`, `rolled_back`, `tampered`, `unknown_epoch` (there is no key for us yet)
   */
  join(roomId: string, options?: { owner?: string }): Promise<OpenRoom>;
  /** Closes all rooms, and the connection if it is ours. */
  close(): Promise<void>;
}

export type { Connection, NatsOptions, TlsOptions };
