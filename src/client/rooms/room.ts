/**
 * One encrypted room, as one member has it.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { Member } from "../../core/model.ts";
import { within } from "../../core/async/wait.ts";
import { isSealingError, SealingError } from "../../sealing/error.ts";
import { type MessageHeader, messageOverhead, MessageSealer } from "../../sealing/message.ts";
import { Channel } from "./channel.ts";
import type { Identity } from "../../keys/identity.ts";
import { type Keyring, removalOr } from "./keyring.ts";
import { membersOf } from "./membership.ts";
import { Outbox } from "./outbox.ts";
import { Owner } from "./owner.ts";
import { Queue } from "./queue.ts";
import { headerOf, type Incoming, isPassing, Reader } from "./reader.ts";
import type {
  Invitee,
  OpenRoom,
  RoomMessage,
  RoomProblem,
  RoomsOptions,
  SentMessage,
} from "./types.ts";
import type { Trust } from "./trust.ts";
import type { Client } from "../types.ts";

/** {@link RoomsOptions}, with what was left out. */
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
  & { client: Client; identity: Identity; trust: Trust; connection: NatsConnection };

/** A room that is open. */
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
  /** Each with what takes its hands off the caller's signal. */
  readonly #readers = new Map<Queue<RoomMessage>, () => void>();
  readonly #closing = new AbortController();
  readonly #working: Promise<void>;
  readonly #ready: Promise<void>;
  #sealer: MessageSealer | null = null;
  /** Our own, one an epoch. */
  readonly #sessions = new Set<string>();
  #refreshing: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #end: (error: Error | null) => void = () => {};
  #error: Error | null = null;

  /** Begins, with the newest key at hand. */
  constructor(settings: RoomSettings, keyring: Keyring, members: ReadonlySet<string>) {
    const { room } = keyring;
    const { client, identity, trust, connection, sendTimeout, oldEpochGrace, maxAge } = settings;
    this.#settings = settings;
    this.#keyring = keyring;
    this.id = room.id;
    this.subject = room.subject;
    this.ended = new Promise((resolve) => this.#end = resolve);
    this.#owner = new Owner({ client, identity, trust }, keyring);
    const { signal } = this.#closing;
    const readMembers = () => this.#members();
    this.#reader = new Reader({
      keyring,
      oldEpochGrace,
      maxAge,
      signal,
      members: async () => new Set((await readMembers()).map((it) => it.endpoint)),
    });
    this.#reader.setMembers(members, -Infinity);
    this.#outbox = new Outbox({
      seal: (data) => this.#seal(data),
      publish: (bytes) => this.#channel.publish(bytes),
      timeout: sendTimeout,
    });
    const { queueMessages: items, queueBytes: bytes } = settings;
    this.#inbox = new Queue({ items, bytes }, (it) => it.bytes.length);
    let ready = () => {};
    this.#ready = new Promise((resolve) => ready = resolve);
    this.#channel = new Channel(connection, room.subject, {
      onData: (data) => this.#arrive(data),
      onReady: () => {
        ready();
        this.#outbox.again();
      },
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

  /** Ends it for a reason of its own. */
  fail(error: Error): void {
    this.#finish(error);
  }

  /** Sends again what was not seen: the connection was lost, and is back. */
  again(): void {
    this.#outbox.again();
  }

  /** Waits until the bus has us as a subscriber. */
  async ready(): Promise<void> {
    const { sendTimeout } = this.#settings;
    const error = await within(
      sendTimeout,
      Promise.race([this.#ready, this.ended]),
      () =>
        new StoreError(
          "unavailable",
          `The bus did not let this member into room ${this.id} within ${sendTimeout} ms`,
        ),
    );
    if (error) throw error;
    if (this.#closing.signal.aborted) {
      throw this.#error ?? new StoreError("closed", `Room ${this.id} is closed`);
    }
    // Somebody may have left while no program of the owner ran.
    if (this.#keyring.isOwner) void this.#refresh();
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
        `A message in room ${this.id} has at most ${most} bytes, found ${bytes.length}`,
      );
    }
    return await this.#outbox.send(bytes, signal);
  }

  messages({ signal }: { signal?: AbortSignal } = {}): AsyncIterableIterator<RoomMessage> {
    const { queueMessages: items, queueBytes: bytes } = this.#settings;
    const queue = new Queue<RoomMessage>({ items, bytes }, (it) => it.data.length);
    const letGo = () => signal?.removeEventListener("abort", stop);
    const stop = () => {
      letGo();
      this.#readers.delete(queue);
      queue.clear();
    };
    if (this.#closing.signal.aborted) queue.end(this.#error);
    else if (signal?.aborted) stop();
    else {
      this.#readers.set(queue, letGo);
      signal?.addEventListener("abort", stop, { once: true });
    }
    const end: IteratorReturnResult<undefined> = { done: true, value: undefined };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      async next() {
        const value = await queue.take();
        return value === null ? end : { done: false, value };
      },
      return: () => {
        stop();
        return Promise.resolve(end);
      },
    };
  }

  open(bytes: Uint8Array): Promise<RoomMessage> {
    return this.#reader.readKept(bytes);
  }

  members(): Promise<Member[]> {
    return this.#members();
  }

  lacking(): Promise<string[]> {
    return this.#owner.lacking();
  }

  async invite(who: Invitee): Promise<void> {
    await this.#owner.invite(who);
  }

  async removeMember(endpoint: string): Promise<void> {
    await this.#owner.removeMember(endpoint);
    this.#tell();
  }

  async rekey(): Promise<number> {
    const epoch = await this.#owner.rekey();
    this.#tell();
    return epoch;
  }

  async leave(): Promise<void> {
    const { client, identity } = this.#settings;
    await client.removeMember(this.id, identity.signPub);
    await this.close();
  }

  async close(): Promise<void> {
    this.#finish(null);
    await this.#channel.close();
    await this.#working;
    // A person takes their time to answer.
    if (!this.#settings.trust.isAsking(this.id)) await this.#refreshing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #members(): Promise<Member[]> {
    try {
      return await membersOf(this.#settings.client, this.id);
    } catch (error) {
      throw removalOr(error, this.id);
    }
  }

  #seal(data: Uint8Array, kind?: "rekeyed"): { header: MessageHeader; bytes: Uint8Array } {
    const { roomId, epoch, current } = this.#keyring;
    if (this.#sealer?.epoch !== epoch) {
      this.#sealer = new MessageSealer(this.#settings.identity, { roomId, epoch }, current);
      this.#sessions.add(this.#sealer.session);
    }
    return this.#sealer.seal(data, kind && { kind });
  }

  /** Tells the others that there is a new key; who does not hear it sees it at the next message. */
  #tell(): void {
    if (this.#closing.signal.aborted) return;
    this.#channel.publish(this.#seal(new Uint8Array(), "rekeyed").bytes);
  }

  #arrive(bytes: Uint8Array): void {
    let header: MessageHeader;
    try {
      header = headerOf(bytes, this.id);
    } catch (error) {
      return this.#problem(error);
    }
    if (header.sender === this.#settings.identity.signPub && this.#outbox.seen(header, bytes)) {
      return;
    }
    const dropped = this.#inbox.push({ bytes, header, at: performance.now() });
    if (dropped > 0) this.#overflow(dropped);
  }

  async #work(): Promise<void> {
    for (let it = await this.#inbox.take(); it !== null; it = await this.#inbox.take()) {
      try {
        const { kind } = it.header;
        const message = await this.#reader.read(it);
        if (kind === "content" && !this.#isOwn(message)) this.#deliver(message);
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        if (isSealingError(error, "removed")) this.#finish(error);
        // One of our own that was sent again is no attack.
        else if (!isSealingError(error, "replayed") || !this.#isOwn(it.header)) {
          this.#problem(error, it.header);
        }
      }
    }
  }

  /** Whether this very program sent it: one that was sent again comes back twice. */
  #isOwn({ sender, session }: { sender: string; session: string }): boolean {
    return sender === this.#settings.identity.signPub && this.#sessions.has(session);
  }

  #deliver(message: RoomMessage): void {
    for (const it of this.#readers.keys()) {
      const dropped = it.push(message);
      if (dropped > 0) this.#overflow(dropped);
    }
  }

  #overflow(count: number): void {
    this.#problem(
      new SealingError("overflow", `${count} message(s) of room ${this.id} were let go unread`),
    );
  }

  #problem(error: unknown, header?: MessageHeader): void {
    const problem: RoomProblem = {
      roomId: this.id,
      error: error instanceof Error ? error : new Error(String(error)),
      ...(header && { header }),
    };
    try {
      this.#settings.onProblem(problem);
    } catch {
      // What a listener throws is its own.
    }
  }

  #schedule(): void {
    const { refreshInterval } = this.#settings;
    // Not all members at the same moment.
    const wait = refreshInterval * (0.75 + Math.random() / 2);
    this.#timer = setTimeout(() => {
      void this.#refresh().finally(() => {
        if (!this.#closing.signal.aborted) this.#schedule();
      });
    }, wait);
  }

  /** Looks whether there is a newer key, whether we are still in, and whether somebody left. */
  #refresh(): Promise<void> {
    this.#refreshing ??= this.#look().finally(() => this.#refreshing = null);
    return this.#refreshing;
  }

  async #look(): Promise<void> {
    try {
      await this.#keyring.refresh();
      const asOf = performance.now();
      this.#reader.setMembers(new Set((await this.#members()).map((it) => it.endpoint)), asOf);
      if (this.#keyring.isOwner && await this.#owner.rekeyIfLeft()) this.#tell();
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      if (isSealingError(error, "removed")) this.#finish(error);
      else if (!isPassing(error)) this.#problem(error);
    }
  }

  #finish(error: Error | null): void {
    if (this.#closing.signal.aborted) return;
    this.#error = error;
    this.#closing.abort();
    clearTimeout(this.#timer);
    this.#outbox.end(error ?? new StoreError("closed", `Room ${this.id} is closed`));
    this.#inbox.clear();
    for (const [it, letGo] of this.#readers) {
      letGo();
      it.end(error);
    }
    this.#readers.clear();
    void this.#channel.close();
    this.#end(error);
  }
}

/** What to send as it is now: the caller may use its buffer for the next. */
function bytesOf(data: Uint8Array | string): Uint8Array {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (data instanceof Uint8Array) return new Uint8Array(data);
  throw new StoreError("invalid", "A message must be text or bytes (Uint8Array)", {
    field: "data",
  });
}
