/**
 * Blobs that are stored and deleted while a control plane moves, and must be there or not afterwards.
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
/** Number of blobs from which on one is deleted for each that is stored: all are read after each move. */
const MOST = 60;

const idOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Stores and deletes blobs until it is ended. */
export class BlobWork implements AsyncDisposable {
  /** Number of those that were answered. */
  number = 0;
  /** IDs of those that are there, and of those that were deleted since they were last read. */
  #stored: string[] = [];
  #deleted: string[] = [];
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
      if (!stored) continue;
      this.number++;
      this.#stored.push(idOf(bytes));
      if (this.#stored.length > MOST) await this.#delete(this.#stored.shift()!);
    }
  }

  async #delete(id: string): Promise<void> {
    await this.#client.deleteBlob(id).then(() => this.#deleted.push(id), () => {});
  }

  /** Requires that all that were answered can be read whole, and no deleted one; returns how many there were. */
  async requireThere(): Promise<number> {
    // What is deleted meanwhile is looked at the next time.
    const [stored, deleted] = [this.#stored, this.#deleted];
    [this.#stored, this.#deleted] = [[], []];
    const wrong: string[] = [];
    for (const id of deleted) {
      const found = await this.#client.statBlob(id).then(
        () => "is there",
        (error) => error.message,
      );
      if (!/with status 404$/.test(found)) wrong.push(`deleted blob ${id}: ${found}`);
    }
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
    this.#stored.unshift(...stored);
    return this.number;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    await this.#working;
    this.#client.close();
  }
}
