/**
 * A room's subject on the bus: a subscription that is renewed after a refusal.
 *
 * @module
 */

import type { NatsConnection, Subscription } from "@nats-io/transport-node";
import { pause } from "../../core/async/wait.ts";

/** Shortest and longest wait before another attempt, milliseconds: each refusal costs a look at the room. */
const RETRY = { first: 250, most: 4000 };

/** Callbacks of a {@link Channel}. */
export interface ChannelHandlers {
  /** Called for each message. */
  onData(data: Uint8Array): void;
  /** Called each time the server has accepted the subscription. */
  onReady(): void;
  /** Called when the server refuses the subscription. */
  onRefused(): void;
}

/**
 * A subscription to one subject. It is retried after a refusal, because a change of membership changes
 * the permissions on the bus only after the server has closed the connection and authorized it again.
 */
export class Channel {
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #handlers: ChannelHandlers;
  readonly #closing = new AbortController();
  #subscription: Subscription | null = null;
  readonly #running: Promise<void>;

  /** Subscribes in the background. */
  constructor(connection: NatsConnection, subject: string, handlers: ChannelHandlers) {
    this.#connection = connection;
    this.#subject = subject;
    this.#handlers = handlers;
    this.#running = this.#run();
  }

  /** Publishes a message. It is lost if the connection is down. */
  publish(bytes: Uint8Array): void {
    try {
      this.#connection.publish(this.#subject, bytes);
    } catch {
      // Closed or closing.
    }
  }

  /** Unsubscribes. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#subscription?.unsubscribe();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let wait = RETRY.first;
    while (!signal.aborted && !this.#connection.isClosed()) {
      try {
        const subscription = this.#subscription = this.#connection.subscribe(this.#subject, {
          callback: (error, { data }) => {
            if (error === null) this.#handlers.onData(data);
          },
        });
        // A refusal arrives before the response to the flush.
        await Promise.race([this.#connection.flush(), subscription.closed]);
        if (!subscription.isClosed()) {
          wait = RETRY.first;
          this.#handlers.onReady();
        }
        const why = await subscription.closed;
        if (!signal.aborted && why) this.#handlers.onRefused();
      } catch {
        // Disconnected: the connection is restored automatically. Or it is being drained, and closes.
        this.#subscription?.unsubscribe();
      }
      await pause(wait, signal).catch(() => {});
      wait = Math.min(RETRY.most, 2 * wait);
    }
  }
}
