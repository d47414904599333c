/**
 * Those who wait until a follower is exact at a position.
 *
 * @module
 */

import type { StoreError } from "../core/errors.ts";
import { orAbort } from "../core/async/wait.ts";

interface Waiter {
  position: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** Wakes those who wait. */
export class Waiters {
  readonly #all = new Set<Waiter>();
  #reached = -1;
  #failure: StoreError | null = null;

  /** Throws when no position is reached any longer. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Waits for a position, or until it can no longer be reached. */
  async wait(position: number, signal?: AbortSignal): Promise<void> {
    this.check();
    if (position <= this.#reached) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { position, resolve, reject };
    this.#all.add(waiter);
    try {
      await orAbort(promise, signal);
    } finally {
      this.#all.delete(waiter);
    }
  }

  /** The file is exact at this position. */
  reached(position: number): void {
    this.#reached = position;
    for (const it of this.#all) if (it.position <= position) it.resolve();
  }

  /** No position is reached any longer. */
  fail(error: StoreError): void {
    this.#failure = error;
    for (const { reject } of this.#all) reject(error);
  }
}
