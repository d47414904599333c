/**
 * Tells the other members of a room that this one is here, and follows who else is. What is said is sealed
 * and signed as messages are, and goes to a subject below that of the messages. `docs/sealing.md`
 * describes it.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { within } from "../../../core/async/wait.ts";
import { Arrivals } from "../../../sealing/arrivals.ts";
import { type MessageHeader, MessageSealer } from "../../../sealing/message.ts";
import type { Primitives, RoomKeys } from "../../../sealing/primitives.ts";
import { Channel } from "../channel.ts";
import type { Keyring } from "../keyring.ts";
import { Queue } from "../queue.ts";
import { headerOf, type Incoming, type Reader } from "../reader.ts";
import type { RoomPresence } from "../types.ts";
import { Heard } from "./heard.ts";

/** Size of a room above which no one says anything: each member would hear all others. */
const MOST_MEMBERS = 100;
/** What one says, as the first byte of the content. `hello` asks the others to say that they are here. */
const SIGNS = ["hello", "here", "leaving"] as const;
/** Time limit for the last word to leave, milliseconds. */
const LEAVE_MS = 1000;
/** Limits of what has arrived and is not verified yet. */
const INBOX = { items: 1024, bytes: 1024 * 1024 };

/** Options of a {@link Presence}. */
export interface PresenceOptions {
  primitives: Primitives;
  keys: RoomKeys;
  connection: NatsConnection;
  keyring: Keyring;
  reader: Reader;
  /**
   * Mean time between two signs, milliseconds. A member is here for 2.5 times as long: browsers let the
   * timers of a page in the background run once a minute.
   */
  interval: number;
  /** Called when something that was said is rejected, or if saying something fails. */
  onError(error: unknown, header?: MessageHeader): void;
}

/** Presence in one room, until it is closed. */
export class Presence {
  /** Each change, of which only the last one is kept. */
  readonly changes: Queue<RoomPresence> = new Queue({ items: 1, bytes: Infinity }, () => 0);
  readonly #options: PresenceOptions;
  readonly #arrivals: Arrivals;
  readonly #heard = new Heard();
  readonly #inbox = new Queue<Incoming>(INBOX, (it) => it.bytes.length);
  readonly #channel: Channel;
  #told: RoomPresence = { here: new Set(), isTooLarge: false };
  #sealer: MessageSealer | null = null;
  /** Sealed in advance, because a page that is being closed has no time for it. */
  #leaving: Uint8Array | null = null;
  /** Whether the others are asked to say that they are here. */
  #asks = true;
  /** When something was said last, and when it will be next, by the monotonic clock. */
  #last = -Infinity;
  #due = Infinity;
  #saying: ReturnType<typeof setTimeout> | undefined;
  #expiry: ReturnType<typeof setTimeout> | undefined;
  #closed: Promise<void> | null = null;

  /** Starts saying that this member is here. */
  constructor(options: PresenceOptions) {
    const { connection, keyring, interval } = options;
    this.#options = options;
    // Older ones say nothing about now, and so a replay makes no one be here for longer.
    this.#arrivals = new Arrivals({ maxAge: 2.5 * interval });
    this.#channel = new Channel(connection, `${keyring.room.subject}.here`, {
      onData: (bytes) => this.#arrive(bytes),
      onReady: () => this.ask(),
      onRefused: () => {},
    });
    void this.#work();
  }

  /** Asks who is here: the subscription is new, or the connection was lost. */
  ask(): void {
    this.#asks = true;
    this.#saySoon();
  }

  /** Takes no one to be here for long who does not say so with the new key. */
  rekeyed(): void {
    this.#heard.limit(performance.now() + this.#options.interval / 3);
    this.#tell();
    this.#saySoon();
  }

  /** Says that this member leaves, unless it is because of an error. */
  close(error: Error | null = null): Promise<void> {
    this.#closed ??= this.#close(error);
    return this.#closed;
  }

  async #close(error: Error | null): Promise<void> {
    clearTimeout(this.#saying);
    clearTimeout(this.#expiry);
    this.#inbox.clear();
    this.changes.end(error);
    const isSaid = error === null && this.#leaving !== null;
    if (isSaid) this.#channel.publish(this.#leaving!);
    const closed = this.#channel.close();
    // The connection may be closed next.
    const { connection } = this.#options;
    if (isSaid) await within(LEAVE_MS, connection.flush(), () => {}).catch(() => {});
    await closed;
  }

  get #isTooLarge(): boolean {
    return this.#options.reader.members.size > MOST_MEMBERS;
  }

  /**
   * At a random time, so that the members do not all answer at once, and not often; the first time
   * immediately.
   */
  #saySoon(): void {
    const { interval } = this.#options;
    const wait = this.#last === -Infinity ? 0 : Math.random() * interval / 15;
    this.#sayAt(Math.max(performance.now() + wait, this.#last + interval / 10));
  }

  #sayAt(time: number): void {
    if (this.#closed !== null || time >= this.#due) return;
    this.#due = time;
    clearTimeout(this.#saying);
    this.#saying = setTimeout(() => {
      this.#say().catch((error) => this.#options.onError(error));
    }, Math.max(0, time - performance.now()));
  }

  async #say(): Promise<void> {
    const { primitives, keys, keyring, interval } = this.#options;
    this.#last = performance.now();
    this.#due = Infinity;
    this.#sayAt(this.#last + interval * (0.75 + Math.random() / 2));
    this.#tell();
    if (this.#isTooLarge) return void (this.#asks = true);
    const { roomId, epoch, current } = keyring;
    if (this.#sealer?.epoch !== epoch) {
      this.#sealer = new MessageSealer(primitives, keys, { roomId, epoch }, current);
    }
    const sealer = this.#sealer;
    const seal = (sign: typeof SIGNS[number]) =>
      sealer.seal(Uint8Array.of(SIGNS.indexOf(sign)), { kind: "here" });
    const asks = this.#asks;
    this.#asks = false;
    const [said, leaving] = await Promise.all([seal(asks ? "hello" : "here"), seal("leaving")]);
    if (this.#closed !== null) return;
    this.#leaving = leaving.bytes;
    // Rejected if the key was replaced meanwhile; it is said again soon with the new one.
    this.#channel.publish(said.bytes);
  }

  #arrive(bytes: Uint8Array): void {
    const { keyring } = this.#options;
    let header: MessageHeader;
    try {
      header = headerOf(bytes, keyring.roomId);
    } catch {
      // Another use of the subject.
      return;
    }
    if (header.kind !== "here" || header.epoch < keyring.epoch || this.#isTooLarge) return;
    this.#inbox.push({ bytes, header, at: performance.now() });
  }

  async #work(): Promise<void> {
    let incoming: Incoming | null;
    while ((incoming = await this.#inbox.take()) !== null) {
      try {
        await this.#read(incoming);
      } catch (error) {
        if (this.#closed === null) this.#options.onError(error, incoming.header);
      }
    }
  }

  async #read(incoming: Incoming): Promise<void> {
    const { reader, keyring, interval } = this.#options;
    const { header } = incoming;
    const { data, late, sentAt } = await reader.read(incoming, this.#arrivals);
    const sign = SIGNS[data[0] ?? SIGNS.length];
    // Late: its sender may have said since that it leaves. Of an earlier epoch: the key was replaced
    // while this was read.
    if (this.#closed !== null || sign === undefined || late || header.epoch < keyring.epoch) return;
    const age = Math.max(0, Date.now() - sentAt.getTime());
    if (sign === "leaving") this.#heard.remove(header);
    else this.#heard.add(header, performance.now() + 2.5 * interval - age);
    this.#tell();
    if (sign === "hello" && header.session !== this.#sealer?.session) this.#saySoon();
  }

  /** Yields who is here, if it has changed, and looks again when the next one expires. */
  #tell(): void {
    if (this.#closed !== null) return;
    const now = performance.now();
    const isTooLarge = this.#isTooLarge;
    const { here, next } = this.#heard.at(now);
    if (isTooLarge) here.clear();
    clearTimeout(this.#expiry);
    if (next < Infinity) this.#expiry = setTimeout(() => this.#tell(), next - now);
    const { here: before, isTooLarge: wasTooLarge } = this.#told;
    const isSame = here.size === before.size && [...here].every((it) => before.has(it));
    if (isSame && isTooLarge === wasTooLarge) return;
    this.#told = { here, isTooLarge };
    this.changes.push(this.#told);
  }
}
