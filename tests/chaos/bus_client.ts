/**
 * A user who wants to be connected to NATS at all times: tries again whenever it is sent away.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import type { Identity } from "../../src/client/mod.ts";
import { connectNats } from "../../src/nats/connect.ts";

/** One user's connection. */
export class BusClient {
  readonly signPub: string;
  #connection: NatsConnection | null = null;
  #open = false;
  #running = true;

  constructor(url: string, identity: Identity) {
    this.signPub = identity.signPub;
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
    const nkeySeed = new TextDecoder().decode(identity.natsSeed());
    while (this.#running) {
      try {
        const it = await connectNats({ servers, nkeySeed, bootstrapTimeout: 1000 });
        this.#connection = it;
        this.#open = true;
        void this.#watch(it);
        await it.closed();
      } catch { /* Not let in, or nobody there. */ }
      this.#open = false;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  async #watch(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === "disconnect") this.#open = false;
      if (type === "reconnect") this.#open = true;
    }
  }
}
