/**
 * Runs work on the same key one at a time.
 *
 * @module
 */

/** A queue of work for each key. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Returns whether work for `key` would have to wait. */
  isTaken(key: string): boolean {
    return this.#last.has(key);
  }

  /** Runs `work` when all earlier work for `key` has ended. */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(key) ?? Promise.resolve()).then(work);
    const ended = turn.catch(() => {});
    this.#last.set(key, ended);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === ended) this.#last.delete(key);
    }
  }
}
