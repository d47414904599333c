/**
 * The last entries that were read: an archive with a new leader may repeat some.
 *
 * @module
 */

/** How many are remembered. */
const REMEMBERED = 10_000;

/** Entries by revision, with what tells whether one is the same. */
export class Repeats {
  readonly #recent = new Map<string, string>();

  /** Remembers an entry. */
  add(revision: string, content = ""): void {
    this.#recent.set(revision, content);
    if (this.#recent.size <= REMEMBERED) return;
    const [oldest] = this.#recent.keys();
    this.#recent.delete(oldest!);
  }

  /** Returns whether an entry was read lately. */
  has(revision: string, content = ""): boolean {
    return this.#recent.get(revision) === content;
  }
}
