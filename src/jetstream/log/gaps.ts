/**
 * Messages that a reader of the stream missed: the stream keeps one message a key, so a message that
 * was replaced before it was sent is never sent.
 *
 * @module
 */

/**
 * Whether something is missing of what a reader has received. The missing message was replaced when
 * the gap was noticed, so its replacement stands before anything that is written from then on: a fence,
 * or where the stream ended. Once the reader has reached that with no newer gap, nothing is missing.
 */
export class Gaps {
  #last: number | null = null;

  /** Whether something is missing. */
  get open(): boolean {
    return this.#last !== null;
  }

  /** Notes that something is missing before this message. */
  note(revision: number): void {
    this.#last = revision;
  }

  /**
   * Notes that a fence was reached.
   *
   * @param seen The last message that had been received when the fence was about to be written
   */
  reached(seen: number): void {
    if (this.#last !== null && this.#last <= seen) this.#last = null;
  }
}
