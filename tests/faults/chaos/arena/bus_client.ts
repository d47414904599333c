/**
 * A user who wants to be connected to NATS at all times: tries again whenever it is sent away.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import type { Identity } from "../../../../src/client/mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";

/** How it behaves. */
export interface BusClientOptions {
  /** Leaves as soon as it was let in, and comes again: somebody who asks all the time. */
  restless?: boolean;
  /** Runs and notes each try to get in, which is to resolve when it was let in. */
  note?: (attempt: () => Promise<boolean>) => Promise<unknown>;
}

/** How long one waits before the next try, milliseconds. */
const PAUSE = 300;

/** One user's connection. */
export class BusClient {
  readonly signPub: string;
  readonly #options: BusClientOptions;
  #connection: NatsConnection | null = null;
  #open = false;
  #running = true;

  constructor(url: string, identity: Identity, options: BusClientOptions = {}) {
    this.signPub = identity.signPub;
    this.#options = options;
    void this.#stay(url, identity);
  }

  /** Whether it is connected now. */
  isOpen(): boolean {
    return this.#open;
  }

  /** Ends it. */
  close(): void {
    this.#running = false;
    void this.#connection?.close();
  }

  async #stay(servers: string, identity: Identity): Promise<void> {
    const { restless = false, note = (attempt) => attempt() } = this.#options;
    const nkeySeed = new TextDecoder().decode(identity.natsSeed());
    const attempt = async () => {
      this.#connection = await connectNats({ servers, nkeySeed, bootstrapTimeout: 1000 });
      return true;
    };
    while (this.#running) {
      try {
        await note(attempt);
        const it = this.#connection;
        if (it !== null) {
          this.#open = true;
          void this.#watch(it);
          if (restless) void it.close();
          await it.closed();
        }
      } catch { /* Not let in, or nobody there. */ }
      this.#connection = null;
      this.#open = false;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }

  /** Each admission is to be seen as a try of its own, so nothing is connected again by the library. */
  async #watch(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type !== "disconnect") continue;
      this.#open = false;
      await connection.close();
    }
  }
}
