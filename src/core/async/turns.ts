/**
 * Work about the same thing, one after another.
 *
 * @module
 */

/** Gives each key's work its turn. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Whether work under `key` would have to wait. */
  isTaken(key: string): boolean {
    return this.#last.has(key);
  }

  /** Runs `work` when all that was given before under `key` has ended. */
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
