/**
 * Messages being sent: each is resent until it has been seen on the bus.
 *
 * @module
 */

import { orAbort } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";
import type { MessageHeader, SealedMessage } from "../../sealing/message.ts";
import type { SentMessage } from "./types.ts";

/** Maximum number of pending messages; further ones wait for their turn. */
const MOST = 256;
/**
 * Time after which a message is resent although the connection was not lost. Losing one that way is
 * rare, and receivers report one that was only slow as replayed.
 */
const AGAIN_MS = 3000;
const LOOK_MS = 250;

interface Pending {
  bytes: Uint8Array;
  sent: SentMessage;
  /** When it was given to the bus first, by the wall clock. */
  began: number;
  /** By the monotonic clock. */
  deadline: number;
  last: number;
  settle(error: unknown | null): void;
}

/** Options of an {@link Outbox}. */
export interface OutboxOptions {
  /** Seals the next message and passes it to `use`, in the order of the calls. */
  seal(data: Uint8Array, use: (sealed: SealedMessage) => void): Promise<void>;
  /** Publishes bytes on the bus. */
  publish(bytes: Uint8Array): void;
  /** Time limit of a message, milliseconds. */
  timeout: number;
}

const messageId = ({ session, seq }: { session: string; seq: number }) => `${session} ${seq}`;

/**
 * Sends messages reliably. NATS silently drops what is published while the connection is down or not yet
 * authorized. A sender receives its own messages, so one that did not come back is resent when the
 * connection is restored, or after some time: with the same bytes, so that receivers can detect it.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #pending = new Map<string, Pending>();
  /** Wakes the call that waits for a pending message to finish. */
  #wake: (() => void) | null = null;
  /** Resolves when all earlier calls have been sent or given up. */
  #turn: Promise<void> = Promise.resolve();
  readonly #timer: ReturnType<typeof setInterval>;
  #ended: Error | null = null;

  /** Creates an empty outbox. */
  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Sends a message and resolves when it has been seen on the bus. */
  async send(data: Uint8Array, signal?: AbortSignal): Promise<SentMessage> {
    const before = this.#turn;
    let done = () => {};
    this.#turn = new Promise((resolve) => done = resolve);
    const seen = Promise.withResolvers<SentMessage>();
    try {
      // Earlier calls never reject here, so only the signal can.
      await orAbort(before, signal).catch(() => {
        throw aborted(signal!);
      });
      await this.#place(signal);
      await this.#options.seal(data, (sealed) => this.#begin(sealed, seen, signal));
    } finally {
      // An aborted call passes the turn on only when it gets it, so that the order stays.
      void before.then(done);
    }
    return await seen.promise;
  }

  async #place(signal: AbortSignal | undefined): Promise<void> {
    const wake = () => this.#wake?.();
    signal?.addEventListener("abort", wake);
    while (this.#pending.size >= MOST && !signal?.aborted) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    signal?.removeEventListener("abort", wake);
    this.#demandGoing(signal);
  }

  #demandGoing(signal: AbortSignal | undefined): void {
    if (signal?.aborted) throw aborted(signal);
    if (this.#ended !== null) throw this.#ended;
  }

  #begin(
    { header, bytes }: SealedMessage,
    { resolve, reject }: Pick<PromiseWithResolvers<SentMessage>, "resolve" | "reject">,
    signal: AbortSignal | undefined,
  ): void {
    // Sealing may have taken a while.
    this.#demandGoing(signal);
    const { epoch, session, seq } = header;
    const key = messageId(header);
    const abort = () => settle(aborted(signal!));
    const settle = (error: unknown | null) => {
      this.#pending.delete(key);
      signal?.removeEventListener("abort", abort);
      this.#wake?.();
      if (error === null) resolve({ epoch, session, seq });
      else reject(error);
    };
    signal?.addEventListener("abort", abort, { once: true });
    const last = performance.now();
    const deadline = last + this.#options.timeout;
    const sent = { epoch, session, seq };
    this.#pending.set(key, { bytes, sent, began: Date.now(), deadline, last, settle });
    this.#options.publish(bytes);
  }

  /** Settles a pending message that was received; returns whether it was one. */
  seen(header: MessageHeader, bytes: Uint8Array): boolean {
    const message = this.#pending.get(messageId(header));
    if (message === undefined || !isEqual(message.bytes, bytes)) return false;
    message.settle(null);
    return true;
  }

  /** Resends all pending messages. */
  resend(): void {
    for (const message of [...this.#pending.values()]) {
      if (!this.#givesUp(message)) this.#publish(message);
    }
  }

  /** Fails all pending and later messages with `error`. */
  end(error: Error): void {
    this.#ended = error;
    clearInterval(this.#timer);
    for (const message of [...this.#pending.values()]) message.settle(error);
  }

  #publish(message: Pending): void {
    message.last = performance.now();
    this.#options.publish(message.bytes);
  }

  #look(): void {
    const now = performance.now();
    for (const message of [...this.#pending.values()]) {
      if (!this.#givesUp(message) && now - message.last >= AGAIN_MS) this.#publish(message);
    }
  }

  /**
   * Gives a message up after its time. The monotonic clock stops while a computer sleeps, and receivers
   * would refuse a message from before that as stale.
   */
  #givesUp({ began, deadline, sent: { seq }, settle }: Pending): boolean {
    const { timeout } = this.#options;
    if (performance.now() < deadline && Date.now() < began + timeout) return false;
    settle(
      new StoreError("unavailable", `Message ${seq} was not seen on the bus within ${timeout} ms`),
    );
    return true;
  }
}

function aborted({ reason }: AbortSignal): StoreError {
  return new StoreError("aborted", "Sending a message was aborted", { cause: reason });
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
