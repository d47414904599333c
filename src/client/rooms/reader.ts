/**
 * Decrypts and verifies messages from the bus, one at a time, in order of arrival.
 *
 * @module
 */

import { pause } from "../../core/async/wait.ts";
import { isStoreError } from "../../core/errors.ts";
import { type Arrival, Arrivals } from "../../sealing/arrivals.ts";
import { SealingError } from "../../sealing/error.ts";
import {
  type MessageHeader,
  openMessage,
  readHeader,
  type SessionKey,
  sessionKey,
} from "../../sealing/message.ts";
import type { Primitives } from "../../sealing/primitives.ts";
import type { Keyring } from "./keyring.ts";
import type { RoomMessage } from "./types.ts";

/** Maximum number of cached session secrets; others are derived again. */
const SESSIONS = 1024;
/** Minimum interval between requests to the control plane that messages cause. */
const ASK_MS = 250;
const RETRY_MS = [100, 300, 1000, 2000, 4000];

/** Options of a {@link Reader}. */
export interface ReaderOptions {
  /** Decrypt and verify. */
  primitives: Primitives;
  /** The room's keys. */
  keyring: Keyring;
  /** Reads the room's members from the control plane. */
  members(): Promise<ReadonlySet<string>>;
  /** See {@link RoomsOptions}. */
  oldEpochGrace: number;
  /** See {@link RoomsOptions}. */
  maxAge: number;
  /** Aborts waiting. */
  signal: AbortSignal;
}

/** A received message that has not been verified. */
export interface Incoming {
  /** Its bytes. */
  bytes: Uint8Array;
  /** Its header, not authenticated. */
  header: MessageHeader;
  /** When it arrived, by the monotonic clock. */
  at: number;
}

/** Decrypts and verifies messages of one room. */
export class Reader {
  readonly #options: ReaderOptions;
  readonly #arrivals: Arrivals;
  readonly #secrets = new Map<string, { roomKey: Uint8Array; secrets: SessionKey }>();
  #members: ReadonlySet<string> = new Set();
  /** When the members and the room were last read from the control plane. */
  readonly #asked = { members: -Infinity, room: -Infinity };

  /** Creates a reader that knows no members yet. */
  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#arrivals = new Arrivals(options);
  }

  /** The members, as last read. */
  get members(): ReadonlySet<string> {
    return this.#members;
  }

  /** Sets the members, as read at `asOf` by the monotonic clock. Older reads are ignored. */
  setMembers(members: ReadonlySet<string>, asOf: number): void {
    if (asOf < this.#asked.members) return;
    this.#members = members;
    this.#asked.members = asOf;
  }

  /**
   * Decrypts and verifies a message, and remembers it in `arrivals`.
   *
   * @throws {SealingError} why the message is rejected
   */
  async read(
    { bytes, header, at }: Incoming,
    arrivals: Arrivals = this.#arrivals,
  ): Promise<RoomMessage> {
    const { keyring, oldEpochGrace } = this.#options;
    const { epoch, sender } = header;
    if (epoch > keyring.epoch) await this.#ask("room", at);
    if (epoch < keyring.epoch && performance.now() - keyring.since > oldEpochGrace) {
      throw new SealingError(
        "old_epoch",
        `The message has a key of epoch ${epoch}, the room is at epoch ${keyring.epoch}`,
      );
    }
    const data = await this.#open(bytes, header);
    // Its key was replaced, perhaps because the sender was removed.
    if (epoch < keyring.epoch) await this.#ask("members", keyring.since);
    if (!this.#members.has(sender)) {
      await this.#ask("members", at);
      if (!this.#members.has(sender)) {
        throw new SealingError(
          "not_a_member",
          `The message is from ${sender}, who is not a member of room ${keyring.roomId}`,
        );
      }
    }
    return messageOf(header, data, arrivals.take(header));
  }

  /** See {@link OpenRoom.open}. */
  async readKept(bytes: Uint8Array): Promise<RoomMessage> {
    const header = headerOf(bytes, this.#options.keyring.roomId);
    if (header.kind !== "content") {
      throw new SealingError("malformed", `The message is a notice (${header.kind}), not content`);
    }
    return messageOf(header, await this.#open(bytes, header), { missed: 0, late: false });
  }

  async #open(bytes: Uint8Array, header: MessageHeader): Promise<Uint8Array> {
    const { keyring } = this.#options;
    const { epoch } = header;
    if (epoch > keyring.epoch) {
      throw new SealingError(
        "unknown_epoch",
        `The message has a key of epoch ${epoch}, the room is at epoch ${keyring.epoch}`,
      );
    }
    const roomKey = await this.#retry(() => keyring.key(epoch));
    const secrets = await this.#secretsOf(header, roomKey);
    return await openMessage(this.#options.primitives, bytes, header, secrets);
  }

  async #secretsOf(header: MessageHeader, roomKey: Uint8Array): Promise<SessionKey> {
    const name = `${header.epoch} ${header.sender} ${header.session}`;
    let cached = this.#secrets.get(name);
    if (cached?.roomKey !== roomKey) {
      const secrets = await sessionKey(this.#options.primitives, roomKey, header);
      cached = { roomKey, secrets };
    }
    this.#secrets.delete(name);
    this.#secrets.set(name, cached);
    if (this.#secrets.size > SESSIONS) {
      this.#secrets.delete(this.#secrets.keys().next().value!);
    }
    return cached.secrets;
  }

  /**
   * Reads the room or its members from the control plane, unless that was done after `since`. So one
   * request serves all messages that arrived before it.
   */
  async #ask(what: "room" | "members", since: number): Promise<void> {
    if (this.#asked[what] > since) return;
    const wait = this.#asked[what] + ASK_MS - performance.now();
    if (wait > 0) await pause(wait, this.#options.signal);
    const began = performance.now();
    if (what === "members") {
      this.setMembers(await this.#retry(() => this.#options.members()), began);
    } else {
      await this.#retry(() => this.#options.keyring.refresh());
      this.#asked.room = began;
    }
  }

  async #retry<T>(work: () => Promise<T>): Promise<T> {
    for (let tried = 0;; tried++) {
      try {
        return await work();
      } catch (error) {
        const wait = RETRY_MS[tried];
        if (wait === undefined || !isPassing(error)) throw error;
        await pause(wait, this.#options.signal);
      }
    }
  }
}

/** Returns whether a retry may succeed. */
export function isPassing(error: unknown): boolean {
  return isStoreError(error, "unavailable") || isStoreError(error, "rate_limited");
}

/**
 * Reads the header of a message of this room.
 *
 * @throws {SealingError} `malformed`; `wrong_room`
 */
export function headerOf(bytes: Uint8Array, roomId: string): MessageHeader {
  const header = readHeader(bytes);
  if (header.roomId === roomId) return header;
  throw new SealingError(
    "wrong_room",
    `The message is for room ${header.roomId} but arrived in room ${roomId}`,
  );
}

function messageOf(header: MessageHeader, data: Uint8Array, arrival: Arrival): RoomMessage {
  const { sender, epoch, session, seq, sentAt } = header;
  const text = () => new TextDecoder().decode(data);
  return { data, text, sender, epoch, session, seq, sentAt: new Date(sentAt), ...arrival };
}
