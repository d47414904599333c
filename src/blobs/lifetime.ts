/**
 * What is under way in a store, so that closing it can end all of it.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";

/** The work of one store, from its opening to its end. */
export class Lifetime {
  readonly #what: string;
  readonly #ends = new Set<(reason: StoreError) => unknown>();
  readonly #work = new Set<Promise<unknown>>();
  #closed: StoreError | null = null;

  constructor(what: string) {
    this.#what = what;
  }

  /** Throws `closed` after the end. */
  check(): void {
    if (this.#closed !== null) throw this.#closed;
  }

  /** Whether it has ended. */
  get closed(): boolean {
    return this.#closed !== null;
  }

  /**
   * Has `end` called when the store is closed, which waits for what it returns. Returns a function
   * that forgets it.
   */
  onClose(end: (reason: StoreError) => unknown): () => void {
    this.check();
    this.#ends.add(end);
    return () => void this.#ends.delete(end);
  }

  /** Runs work that closing the store waits for. */
  run<T>(work: () => Promise<T>): Promise<T> {
    this.check();
    const running = work();
    const settled = running.catch(() => {});
    this.#work.add(settled);
    settled.then(() => this.#work.delete(settled));
    return running;
  }

  /** Ends everything and waits for it. */
  async close(): Promise<void> {
    this.#closed ??= new StoreError("closed", `The ${this.#what} is closed`);
    const ends = [...this.#ends];
    this.#ends.clear();
    await Promise.allSettled([...ends.map((end) => end(this.#closed!)), ...this.#work]);
  }
}
