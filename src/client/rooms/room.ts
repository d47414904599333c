/**
 * One open encrypted room.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError, StoreError } from "../../core/errors.ts";
import type { User } from "../../core/model.ts";
import { Turns } from "../../core/async/turns.ts";
import { within } from "../../core/async/wait.ts";
import { counted } from "../../core/text/counted.ts";
import { isSealingError, SealingError } from "../../sealing/error.ts";
import {
  type MessageHeader,
  messageOverhead,
  MessageSealer,
  type SealedMessage,
} from "../../sealing/message.ts";
import { answerOf } from "../http/failure.ts";
import { Channel } from "./channel.ts";
import { type Keyring, removalOr } from "./keyring.ts";
import { membersOf, waitingFor } from "./membership.ts";
import { Outbox } from "./outbox.ts";
import { needsNewKey, Owner } from "./owner.ts";
import type { RoomContext, RoomsParts } from "./parts.ts";
import { Presence } from "./presence/presence.ts";
import { Queue } from "./queue.ts";
import { headerOf, type Incoming, isPassing, Reader } from "./reader.ts";
import type {
  CardOrKeys,
  OpenRoom,
  RoomMessage,
  RoomPresence,
  RoomsOptions,
  SentMessage,
} from "./types.ts";
import type { ListedMember } from "../types.ts";

/** {@link RoomsOptions} with defaults filled in. */
export type RoomSettings =
  & Required<
    Pick<
      RoomsOptions,
      | "oldEpochGrace"
      | "maxAge"
      | "refreshInterval"
      | "sendTimeout"
      | "queueMessages"
      | "queueBytes"
      | "onProblem"
    >
  >
  & RoomContext
  & Required<Pick<RoomsParts, "hereInterval">>
  & { connection: NatsConnection };

/** An open room. */
export class LiveRoom implements OpenRoom {
  readonly id: string;
  readonly subject: string;
  readonly ended: Promise<Error | null>;
  readonly #settings: RoomSettings;
  readonly #keyring: Keyring;
  readonly #owner: Owner;
  readonly #reader: Reader;
  readonly #channel: Channel;
  readonly #outbox: Outbox;
  readonly #inbox: Queue<Incoming>;
  /** The queue of each iterator, and a function that removes its abort listener. */
  readonly #readers = new Map<Queue<RoomMessage>, () => void>();
  readonly #presences = new Set<Presence>();
  readonly #closing = new AbortController();
  readonly #working: Promise<void>;
  readonly #ready: Promise<void>;
  #sealer: MessageSealer | null = null;
  /** Messages are sealed one at a time, so that they are published in the order of their numbers. */
  readonly #sealing = new Turns();
  /** Our own sessions, one for each epoch. */
  readonly #sessions = new Set<string>();
  #refreshing: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #end: (error: Error | null) => void = () => {};
  #error: Error | null = null;

  /** Starts receiving. `keyring` must have the newest key. */
  constructor(settings: RoomSettings, keyring: Keyring, members: ReadonlySet<string>) {
    const { room } = keyring;
    const { primitives, connection, sendTimeout, oldEpochGrace, maxAge } = settings;
    this.#settings = settings;
    this.#keyring = keyring;
    this.id = room.id;
    this.subject = room.subject;
    this.ended = new Promise((resolve) => this.#end = resolve);
    this.#owner = new Owner(settings, keyring);
    const { signal } = this.#closing;
    const readMembers = () => this.members();
    this.#reader = new Reader({
      primitives,
      keyring,
      oldEpochGrace,
      maxAge,
      signal,
      members: async () => new Set((await readMembers()).map((it) => it.endpoint)),
    });
    this.#reader.setMembers(members, -Infinity);
    keyring.onNewKey = () => {
      for (const presence of this.#presences) presence.rekeyed();
    };
    this.#outbox = new Outbox({
      seal: (data, use) => this.#seal(data, use),
      publish: (bytes) => this.#channel.publish(bytes),
      timeout: sendTimeout,
    });
    const { queueMessages: items, queueBytes: bytes } = settings;
    this.#inbox = new Queue({ items, bytes }, (it) => it.bytes.length);
    const ready = Promise.withResolvers<void>();
    this.#ready = ready.promise;
    this.#channel = new Channel(connection, room.subject, {
      onData: (data) => this.#arrive(data),
      onReady: ready.resolve,
      onRefused: () => this.#refresh(),
    });
    this.#working = this.#work();
    this.#schedule();
  }

  get owner(): string {
    return this.#keyring.room.owner;
  }

  get epoch(): number {
    return this.#keyring.epoch;
  }

  /** Ends the room with an error. */
  fail(error: Error): void {
    this.#finish(error);
  }

  /** Resends pending messages after the connection was restored. */
  resend(): void {
    this.#outbox.resend();
    for (const presence of this.#presences) presence.ask();
  }

  /** Waits until the bus has accepted the subscription. */
  async ready({ isNew }: { isNew: boolean }): Promise<void> {
    const { sendTimeout } = this.#settings;
    await within(
      sendTimeout,
      Promise.race([this.#ready, this.ended]),
      () => {
        throw new StoreError(
          "unavailable",
          `Room ${this.id}: the bus did not accept the subscription within ${sendTimeout} ms`,
        );
      },
    );
    if (this.#closing.signal.aborted) {
      throw this.#error ?? new StoreError("closed", `Room ${this.id} is closed`);
    }
    // A member may have left, or the owner have changed, while no program of the owner was running.
    if (this.#keyring.isOwner && !isNew) void this.#refresh();
  }

  async send(
    data: Uint8Array | string,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<SentMessage> {
    const bytes = bytesOf(data);
    const most = (this.#settings.connection.info?.max_payload ?? Infinity) -
      messageOverhead(this.id);
    if (bytes.length > most) {
      throw new StoreError(
        "too_large",
        `A message in room ${this.id} must have at most ${most} bytes, found ${bytes.length}`,
      );
    }
    return await this.#outbox.send(bytes, signal);
  }

  messages({ signal }: { signal?: AbortSignal } = {}): AsyncIterableIterator<RoomMessage> {
    const { queueMessages: items, queueBytes: bytes } = this.#settings;
    const queue = new Queue<RoomMessage>({ items, bytes }, (it) => it.data.length);
    const removeListener = () => signal?.removeEventListener("abort", stop);
    const stop = () => {
      removeListener();
      this.#readers.delete(queue);
      queue.clear();
    };
    if (this.#closing.signal.aborted) queue.end(this.#error);
    else if (signal?.aborted) stop();
    else {
      this.#readers.set(queue, removeListener);
      signal?.addEventListener("abort", stop, { once: true });
    }
    return queue.iterate(stop);
  }

  here({ signal }: { signal?: AbortSignal } = {}): AsyncIterableIterator<RoomPresence> {
    const presence = new Presence({
      ...this.#settings,
      keyring: this.#keyring,
      reader: this.#reader,
      interval: this.#settings.hereInterval,
      onError: (error, header) => this.#failed(error, header),
    });
    this.#presences.add(presence);
    const stop = () => {
      signal?.removeEventListener("abort", stop);
      presence.changes.clear();
      void presence.close().then(() => this.#presences.delete(presence));
    };
    if (this.#closing.signal.aborted) void presence.close(this.#error);
    else if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true, signal: this.#closing.signal });
    return presence.changes.iterate(stop);
  }

  open(bytes: Uint8Array): Promise<RoomMessage> {
    return this.#reader.readKept(bytes);
  }

  async members(): Promise<ListedMember[]> {
    try {
      return await membersOf(this.#settings.client, this.id);
    } catch (error) {
      throw removalOr(error, this.id);
    }
  }

  async refresh(): Promise<void> {
    // The check under way may have read the room before it changed.
    await this.#refreshing;
    if (!this.#closing.signal.aborted) await this.#refresh();
  }

  lacking(): Promise<string[]> {
    return this.#owner.lacking();
  }

  async addMember(member: CardOrKeys): Promise<void> {
    await this.#owner.addMember(member);
  }

  async removeMember(endpoint: string): Promise<void> {
    await this.#owner.removeMember(endpoint);
    await this.#announceKey();
  }

  async waiting(): Promise<User[]> {
    return await waitingFor(this.#settings.client, this.id);
  }

  async handOver(endpoint: string): Promise<void> {
    await this.#owner.handOver(endpoint);
  }

  async rekey(): Promise<number> {
    const epoch = await this.#owner.rekey();
    await this.#announceKey();
    return epoch;
  }

  async leave(): Promise<void> {
    const { client, keys } = this.#settings;
    await client.removeMember(this.id, keys.signPub);
    await this.close();
  }

  async close(): Promise<void> {
    this.#finish(null);
    await this.#channel.close();
    await Promise.all([...this.#presences].map((it) => it.close()));
    // A user may take a long time to answer `acceptOwner`.
    if (this.#settings.trust.isAsking(this.id)) return;
    await Promise.all([this.#working, this.#refreshing]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Seals a message and passes it to `use` at once, while its key is the newest. */
  #seal(data: Uint8Array, use: (sealed: SealedMessage) => void, kind?: "rekeyed"): Promise<void> {
    const { primitives, keys } = this.#settings;
    return this.#sealing.take("", async () => {
      for (;;) {
        const { roomId, epoch, current } = this.#keyring;
        if (this.#sealer?.epoch !== epoch) {
          this.#sealer = new MessageSealer(primitives, keys, { roomId, epoch }, current);
          this.#sessions.add(this.#sealer.session);
        }
        const sealed = await this.#sealer.seal(data, kind && { kind });
        // Otherwise a member who was removed meanwhile could read it: it is sealed again.
        if (this.#keyring.epoch === epoch) return use(sealed);
      }
    });
  }

  /** Tells the others that there is a new key. Members who miss it notice at the next message. */
  async #announceKey(): Promise<void> {
    const publish = ({ bytes }: SealedMessage) => this.#channel.publish(bytes);
    await this.#seal(new Uint8Array(), publish, "rekeyed").catch((error) => this.#problem(error));
  }

  #arrive(bytes: Uint8Array): void {
    let header: MessageHeader;
    try {
      header = headerOf(bytes, this.id);
    } catch (error) {
      return this.#problem(error);
    }
    if (header.sender === this.#settings.keys.signPub && this.#outbox.seen(header, bytes)) {
      return;
    }
    const dropped = this.#inbox.push({ bytes, header, at: performance.now() });
    if (dropped > 0) this.#overflow(dropped);
  }

  async #work(): Promise<void> {
    let incoming: Incoming | null;
    while ((incoming = await this.#inbox.take()) !== null) {
      const { header } = incoming;
      try {
        const message = await this.#reader.read(incoming);
        if (header.kind === "content" && !this.#isOwn(header)) this.#deliver(message);
      } catch (error) {
        // A replay of our own message is one that was resent.
        if (!isSealingError(error, "replayed") || !this.#isOwn(header)) this.#failed(error, header);
      }
    }
  }

  /** Ends the room if this member was removed; reports any other error. */
  #failed(error: unknown, header?: MessageHeader): void {
    if (this.#closing.signal.aborted) return;
    if (!isSealingError(error, "removed")) this.#problem(error, header);
    else if (isForeign(error.cause)) this.#problem(error.cause);
    else this.#finish(error);
  }

  /** Returns whether this room object sent the message: one that was resent comes back twice. */
  #isOwn({ sender, session }: { sender: string; session: string }): boolean {
    return sender === this.#settings.keys.signPub && this.#sessions.has(session);
  }

  #deliver(message: RoomMessage): void {
    for (const queue of this.#readers.keys()) {
      const dropped = queue.push(message);
      if (dropped > 0) this.#overflow(dropped);
    }
  }

  #overflow(count: number): void {
    this.#problem(
      new SealingError(
        "overflow",
        `Room ${this.id}: the queue is full, ${counted(count, "message")} dropped`,
      ),
    );
  }

  #problem(error: unknown, header?: MessageHeader): void {
    this.#settings.onProblem({
      roomId: this.id,
      error: error instanceof Error ? error : new Error(String(error)),
      ...(header && { header }),
    });
  }

  #schedule(): void {
    const { refreshInterval } = this.#settings;
    // Random, so that the members do not ask at the same time.
    const wait = refreshInterval * (0.75 + Math.random() / 2);
    this.#timer = setTimeout(() => {
      void this.#refresh().finally(() => {
        if (!this.#closing.signal.aborted) this.#schedule();
      });
    }, wait);
  }

  /** Checks for a newer key, for our removal, and, as the owner, whether a new key is needed. */
  #refresh(): Promise<void> {
    this.#refreshing ??= this.#look().finally(() => this.#refreshing = null);
    return this.#refreshing;
  }

  async #look(): Promise<void> {
    try {
      await this.#keyring.refresh();
      const { isOwner } = this.#keyring;
      const keys = isOwner ? await this.#owner.sealedKeys() : [];
      const asOf = performance.now();
      const members = await this.members();
      this.#reader.setMembers(new Set(members.map((it) => it.endpoint)), asOf);
      // Judged here first: `rekeyIfNeeded` keeps removals waiting while it reads both lists again.
      if (!isOwner || !await needsNewKey(this.#settings.keys.signPub, keys, members)) return;
      if (await this.#owner.rekeyIfNeeded()) await this.#announceKey();
    } catch (error) {
      if (!isPassing(error)) this.#failed(error);
    }
  }

  #finish(error: Error | null): void {
    if (this.#closing.signal.aborted) return;
    this.#error = error;
    this.#closing.abort();
    clearTimeout(this.#timer);
    this.#outbox.end(error ?? new StoreError("closed", `Room ${this.id} is closed`));
    this.#inbox.clear();
    for (const [queue, removeListener] of this.#readers) {
      removeListener();
      queue.end(error);
    }
    for (const presence of this.#presences) void presence.close(error);
    void this.#channel.close();
    this.#end(error);
  }
}

/** Returns whether an answer is not the control plane's, but that of a proxy while it restarts. */
function isForeign(cause: unknown): boolean {
  return isStoreError(cause) && answerOf(cause)?.code === null;
}

/** Returns a copy of the message's bytes, because the caller may reuse its buffer. */
function bytesOf(data: Uint8Array | string): Uint8Array {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (data instanceof Uint8Array) return new Uint8Array(data);
  throw new StoreError("invalid", "data must be text or bytes (Uint8Array)", {
    field: "data",
  });
}
