/**
 * Counts the calls of a backend that are in progress.
 *
 * @module
 */

import { within } from "../async/wait.ts";
import type { Backend } from "../backend.ts";
import { StoreError } from "../errors.ts";

/** A backend in use. */
export class Use {
  /** The backend. */
  readonly backend: Backend;
  #calls = 0;
  #writes = 0;
  /** Called when a call has ended. */
  readonly #onEnd = new Set<() => void>();
  #closing: Promise<void> | null = null;

  constructor(backend: Backend) {
    this.backend = backend;
  }

  /** Calls the backend, and counts the call until its answer. */
  track<T>(writes: boolean, call: (backend: Backend) => Promise<T>): Promise<T> {
    const end = () => {
      this.#calls--;
      if (writes) this.#writes--;
      for (const onEnd of this.#onEnd) onEnd();
    };
    this.#calls++;
    if (writes) this.#writes++;
    try {
      const answer = call(this.backend);
      answer.then(end, end);
      return answer;
    } catch (error) {
      end();
      throw error;
    }
  }

  /**
   * Waits until no write is in progress.
   *
   * @throws {StoreError} `unavailable`: one still is after `patience` milliseconds
   */
  async whenWritten(patience: number): Promise<void> {
    if (this.#writes === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onEnd = () => this.#writes === 0 && resolve();
    this.#onEnd.add(onEnd);
    try {
      await within(patience, promise, () => {
        throw new StoreError(
          "unavailable",
          `Waiting for writes to end: ${this.#writes} are in progress after ${patience} ms`,
        );
      });
    } finally {
      this.#onEnd.delete(onEnd);
    }
  }

  /** Closes the backend when no call is in progress; resolves when it is closed. */
  closeLater(): Promise<void> {
    if (this.#calls === 0) return this.close();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEnd.add(() => this.#calls === 0 && resolve());
    return promise.then(() => this.close());
  }

  /** Closes the backend. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.backend.close();
    return this.#closing;
  }
}
