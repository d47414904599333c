/**
 * What comes from the bus, made sure of: one message after another, in the order they came.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
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
import type { Keyring } from "./keyring.ts";
import type { RoomMessage } from "./types.ts";

/** Secrets of sessions that are kept; others are derived again. */
const SESSIONS = 1024;
/** Between two questions to the control plane that messages give rise to. */
const ASK_MS = 250;
const RETRY_MS = [100, 300, 1000, 2000, 4000];

/** What a reader works with. */
export interface ReaderOptions {
  /** The keys. */
  keyring: Keyring;
  /** Reads who is in the room, anew. */
  members(): Promise<ReadonlySet<string>>;
  /** See {@link RoomsOptions}. */
  oldEpochGrace: number;
  /** See {@link RoomsOptions}. */
  maxAge: number;
  /** Ends waiting. */
  signal: AbortSignal;
}

/** A message as it came. */
export interface Incoming {
  /** Its bytes. */
  bytes: Uint8Array;
  /** What it says of itself. */
  header: MessageHeader;
  /** When it came, by the monotonic clock. */
  at: number;
}

/** Opens what comes. */
export class Reader {
  readonly #options: ReaderOptions;
  readonly #arrivals: Arrivals;
  readonly #secrets = new Map<string, { roomKey: Uint8Array; secrets: SessionKey }>();
  #members: ReadonlySet<string> = new Set();
  /** When the control plane was last asked, for what we know by that. */
  readonly #asked = { members: -Infinity, room: -Infinity };

  /** Begins. */
  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#arrivals = new Arrivals(options);
  }

  /** Takes who is in the room, as it was asked for at `asOf` by the monotonic clock. */
  setMembers(members: ReadonlySet<string>, asOf: number): void {
    if (asOf < this.#asked.members) return;
    this.#members = members;
    this.#asked.members = asOf;
  }

  /** Opens a message, or throws why it is not taken. */
  async read({ bytes, header, at }: Incoming): Promise<RoomMessage> {
    const { keyring, oldEpochGrace } = this.#options;
    const { epoch, sender } = header;
    if (epoch > keyring.epoch) await this.#ask("room", at);
    if (epoch < keyring.epoch && performance.now() - keyring.since > oldEpochGrace) {
      throw new SealingError(
        "old_epoch",
        `The message is under the key of epoch ${epoch}, the room is at ${keyring.epoch}`,
      );
    }
    const data = await this.#open(bytes, header);
    // Under a replaced key, which may have been replaced because the sender was taken out.
    if (epoch < keyring.epoch) await this.#ask("members", keyring.since);
    if (!this.#members.has(sender)) {
      await this.#ask("members", at);
      if (!this.#members.has(sender)) {
        throw new SealingError("not_a_member", `The message is of ${sender}, who is not in it`);
      }
    }
    return messageOf(header, data, this.#arrivals.take(header));
  }

  /** Opens a message that was kept. */
  async readKept(bytes: Uint8Array): Promise<RoomMessage> {
    const header = headerOf(bytes, this.#options.keyring.roomId);
    return messageOf(header, await this.#open(bytes, header), { missed: 0, late: false });
  }

  async #open(bytes: Uint8Array, header: MessageHeader): Promise<Uint8Array> {
    const { keyring } = this.#options;
    const { epoch } = header;
    if (epoch > keyring.epoch) {
      throw new SealingError(
        "unknown_epoch",
        `The message is under a key of epoch ${epoch}, the room is at ${keyring.epoch}`,
      );
    }
    const roomKey = await this.#retry(() => keyring.key(epoch));
    return openMessage(bytes, header, this.#secretsOf(header, roomKey));
  }

  #secretsOf(header: MessageHeader, roomKey: Uint8Array): SessionKey {
    const name = `${header.epoch} ${header.sender} ${header.session}`;
    let it = this.#secrets.get(name);
    if (it?.roomKey !== roomKey) it = { roomKey, secrets: sessionKey(roomKey, header) };
    this.#secrets.delete(name);
    this.#secrets.set(name, it);
    if (this.#secrets.size > SESSIONS) {
      this.#secrets.delete(this.#secrets.keys().next().value!);
    }
    return it.secrets;
  }

  /**
   * Sees to it that what is known is newer than a message that came: one question for all that came
   * before it, however many.
   */
  async #ask(what: "room" | "members", since: number): Promise<void> {
    if (this.#asked[what] > since) return;
    const wait = this.#asked[what] + ASK_MS - performance.now();
    if (wait > 0) await delay(wait, undefined, { signal: this.#options.signal });
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
        await delay(wait, undefined, { signal: this.#options.signal });
      }
    }
  }
}

/** Whether another try may do better. */
export function isPassing(error: unknown): boolean {
  return isStoreError(error, "unavailable") || isStoreError(error, "rate_limited");
}

/** Reads a header, of this room and no other. */
export function headerOf(bytes: Uint8Array, roomId: string): MessageHeader {
  const header = readHeader(bytes);
  if (header.roomId === roomId) return header;
  throw new SealingError(
    "wrong_room",
    `The message says that it is of room ${header.roomId}, and came in room ${roomId}`,
  );
}

function messageOf(header: MessageHeader, data: Uint8Array, arrival: Arrival): RoomMessage {
  const { sender, epoch, session, seq, sentAt } = header;
  const text = () => new TextDecoder().decode(data);
  return { data, text, sender, epoch, session, seq, sentAt: new Date(sentAt), ...arrival };
}
