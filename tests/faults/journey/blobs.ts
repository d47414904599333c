/**
 * Blobs that are stored while a control plane moves, and must be there afterwards.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { type Client, createClient, type Identity } from "../../../src/client/mod.ts";

/** Bytes of a blob. */
const SIZE = 20_000;
/** Milliseconds between two blobs. */
const BETWEEN_MS = 250;

const idOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Stores blobs until it is ended. */
export class BlobWork implements AsyncDisposable {
  /** IDs of those that were answered. */
  readonly #stored: string[] = [];
  readonly #client: Client;
  readonly #url: string;
  #running = true;
  #working: Promise<void>;

  constructor(url: string, identity: Identity) {
    this.#url = url;
    this.#client = createClient({ url, identity });
    this.#working = this.#work();
  }

  async #work(): Promise<void> {
    while (this.#running) {
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
      const bytes = randomBytes(SIZE);
      // Machines are hit meanwhile; what was not answered may be there or not.
      const stored = await this.#client.putBlob(bytes, { timeout: 10_000 }).then(
        () => true,
        () => false,
      );
      if (stored) this.#stored.push(idOf(bytes));
    }
  }

  /** Requires that all that were answered can be read whole; returns their number. */
  async requireThere(): Promise<number> {
    const stored = [...this.#stored];
    const wrong: string[] = [];
    for (const id of stored) {
      try {
        const { body } = await this.#client.getBlob(id);
        const bytes = await new Response(body).bytes();
        if (idOf(bytes) !== id) wrong.push(`blob ${id} is damaged`);
      } catch (error) {
        wrong.push(`blob ${id}: ${(error as Error).message}`);
      }
    }
    assert.deepEqual(wrong, [], `${wrong.length} of ${stored.length} blobs at ${this.#url}`);
    return stored.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    await this.#working;
    this.#client.close();
  }
}
