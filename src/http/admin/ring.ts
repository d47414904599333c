/**
 * A list that keeps a fixed number of the newest items.
 *
 * @module
 */

/** Keeps the newest. */
export class Ring<T> {
  readonly #most: number;
  #items: T[] = [];
  #lost: T | null = null;

  /** @param most How many are kept */
  constructor(most: number) {
    this.#most = most;
  }

  /** The newest that was pushed out. */
  get lost(): T | null {
    return this.#lost;
  }

  /** Adds one; the oldest goes where there are too many. */
  add(item: T): void {
    this.#items.push(item);
    // Moved in one go now and then.
    if (this.#items.length >= 2 * this.#most) this.#items = this.#items.slice(-this.#most);
    if (this.#items.length > this.#most) this.#lost = this.#items.at(-this.#most - 1)!;
  }

  /** Those that match, oldest first. */
  filter(matches: (item: T) => boolean): T[] {
    return this.#items.slice(-this.#most).filter(matches);
  }

  /** Takes the newest that matches away. */
  remove(matches: (item: T) => boolean): T | null {
    const at = this.#items.findLastIndex(matches);
    return at < 0 ? null : this.#items.splice(at, 1)[0]!;
  }
}
