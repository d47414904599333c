/**
 * Tracks the operations of a store, so that closing it can end all of them.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";

/** The operations of one store. */
export class Lifetime {
  readonly #what: string;
  readonly #ends = new Set<(reason: StoreError) => unknown>();
  readonly #work = new Set<Promise<unknown>>();
  #closed: StoreError | null = null;

  constructor(what: string) {
    this.#what = what;
  }

  /** Throws `closed` if the store is closed. */
  check(): void {
    if (this.#closed !== null) throw this.#closed;
  }

  /** Whether the store is closed. */
  get closed(): boolean {
    return this.#closed !== null;
  }

  /**
   * Registers a function to call when the store is closed, which waits for its result.
   *
   * @returns A function that unregisters it
   */
  onClose(end: (reason: StoreError) => unknown): () => void {
    this.check();
    this.#ends.add(end);
    return () => void this.#ends.delete(end);
  }

  /** Runs an operation that closing the store waits for. */
  run<T>(work: () => Promise<T>): Promise<T> {
    this.check();
    const running = work();
    const settled = running.catch(() => {});
    this.#work.add(settled);
    settled.then(() => this.#work.delete(settled));
    return running;
  }

  /** Ends all operations and waits for them. */
  async close(): Promise<void> {
    this.#closed ??= new StoreError("closed", `The ${this.#what} is closed`);
    const ends = [...this.#ends];
    this.#ends.clear();
    await Promise.allSettled([...ends.map((end) => end(this.#closed!)), ...this.#work]);
  }
}
