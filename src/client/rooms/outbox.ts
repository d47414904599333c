/**
 * Messages on their way: sent again until they were seen on the bus.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { MessageHeader } from "../../sealing/message.ts";
import type { SentMessage } from "./types.ts";

/** Messages on their way at once; more wait for their turn. */
const MOST = 256;
/**
 * What was lost without the connection being lost: rare, and each that was only slow is reported by
 * receivers as played twice.
 */
const AGAIN_MS = 3000;
const LOOK_MS = 250;

interface Pending {
  bytes: Uint8Array;
  sent: SentMessage;
  /** By the monotonic clock. */
  deadline: number;
  last: number;
  settle(error: unknown | null): void;
}

/** What an outbox works with. */
export interface OutboxOptions {
  /** Seals the next message. */
  seal(data: Uint8Array): { header: MessageHeader; bytes: Uint8Array };
  /** Puts bytes on the bus. */
  publish(bytes: Uint8Array): void;
  /** Most milliseconds of a message. */
  timeout: number;
}

const keyOf = ({ session, seq }: { session: string; seq: number }) => `${session} ${seq}`;

/**
 * What is published while the connection is away, or not yet allowed, is lost without a word. Our own
 * messages come back to us, so one that did not is sent again when the connection is back, or after
 * some time: the very same bytes, so whoever had it already knows that.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #pending = new Map<string, Pending>();
  /** Wakes who waits for a place. */
  #wake: (() => void) | null = null;
  /** Whoever called before has its place. */
  #turn: Promise<void> = Promise.resolve();
  readonly #timer: ReturnType<typeof setInterval>;
  #ended: Error | null = null;

  /** Begins empty. */
  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Sends, and resolves when it was seen. */
  async send(data: Uint8Array, signal?: AbortSignal): Promise<SentMessage> {
    const before = this.#turn;
    let done = () => {};
    this.#turn = new Promise((resolve) => done = resolve);
    let seen: Promise<SentMessage>;
    try {
      await orAborted(before, signal);
      await this.#place(signal);
      seen = this.#begin(data, signal);
    } finally {
      // Whoever gives up while it waits for its turn does not hand on what it has not got.
      void before.then(done);
    }
    return await seen;
  }

  async #place(signal: AbortSignal | undefined): Promise<void> {
    const wake = () => this.#wake?.();
    signal?.addEventListener("abort", wake);
    while (this.#pending.size >= MOST && this.#ended === null && !signal?.aborted) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    signal?.removeEventListener("abort", wake);
    if (this.#ended !== null) throw this.#ended;
    if (signal?.aborted) throw aborted(signal);
  }

  #begin(data: Uint8Array, signal: AbortSignal | undefined): Promise<SentMessage> {
    const { header, bytes } = this.#options.seal(data);
    const { epoch, session, seq } = header;
    const deadline = performance.now() + this.#options.timeout;
    return new Promise((resolve, reject) => {
      const key = keyOf(header);
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
      this.#pending.set(key, { bytes, sent: { epoch, session, seq }, deadline, last, settle });
      this.#options.publish(bytes);
    });
  }

  /** Whether a message that came is one of ours that was on its way. */
  seen(header: MessageHeader, bytes: Uint8Array): boolean {
    const it = this.#pending.get(keyOf(header));
    if (it === undefined || !isEqual(it.bytes, bytes)) return false;
    it.settle(null);
    return true;
  }

  /** Sends everything again that was not seen. */
  again(): void {
    for (const it of this.#pending.values()) this.#publish(it);
  }

  /** Ends it: what is on its way fails with this. */
  end(error: Error): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    clearInterval(this.#timer);
    for (const it of [...this.#pending.values()]) it.settle(error);
    this.#wake?.();
  }

  #publish(it: Pending): void {
    it.last = performance.now();
    this.#options.publish(it.bytes);
  }

  #look(): void {
    const now = performance.now();
    for (const it of [...this.#pending.values()]) {
      if (now >= it.deadline) {
        it.settle(
          new StoreError(
            "unavailable",
            `The message ${it.sent.seq} was not seen on the bus within ${this.#options.timeout} ms`,
          ),
        );
      } else if (now - it.last >= AGAIN_MS) this.#publish(it);
    }
  }
}

/** The promise, which never rejects, or the end of the caller's patience. */
function orAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(aborted(signal));
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    void promise.then(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    });
  });
}

function aborted({ reason }: AbortSignal): StoreError {
  return new StoreError("aborted", "Sending was ended by its caller", { cause: reason });
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((it, i) => it === b[i]);
}
