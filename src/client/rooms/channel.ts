/**
 * A room's subject on the bus: a subscription that is made again after it was refused.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection, Subscription } from "@nats-io/transport-node";

const RETRY_MS = 250;

/** What a channel tells. */
export interface ChannelHandlers {
  /** A message came. */
  onData(data: Uint8Array): void;
  /** The server has us as a subscriber, again or for the first time. */
  onReady(): void;
  /** The server does not let us. */
  onRefused(): void;
}

/**
 * A subscription to one subject. Being put into a room, or out of it, becomes a right on the bus only when
 * the server has ended our connection and judged us anew, so a refusal is not the end.
 */
export class Channel {
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #handlers: ChannelHandlers;
  readonly #closing = new AbortController();
  #subscription: Subscription | null = null;
  readonly #running: Promise<void>;

  /** Begins. */
  constructor(connection: NatsConnection, subject: string, handlers: ChannelHandlers) {
    this.#connection = connection;
    this.#subject = subject;
    this.#handlers = handlers;
    this.#running = this.#run();
  }

  /** Sends; what cannot be sent now is lost. */
  publish(bytes: Uint8Array): void {
    try {
      this.#connection.publish(this.#subject, bytes);
    } catch {
      // Closed or closing.
    }
  }

  /** Ends it. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#subscription?.unsubscribe();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted && !this.#connection.isClosed()) {
      const subscription = this.#subscription = this.#connection.subscribe(this.#subject, {
        callback: (error, { data }) => {
          if (error === null) this.#handlers.onData(data);
        },
      });
      try {
        // A refusal comes before the answer to this.
        await Promise.race([this.#connection.flush(), subscription.closed]);
        if (!subscription.isClosed()) this.#handlers.onReady();
        const why = await subscription.closed;
        if (!signal.aborted && why) this.#handlers.onRefused();
      } catch {
        // Cut off meanwhile: the connection comes back by itself.
        subscription.unsubscribe();
      }
      await delay(RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }
}
