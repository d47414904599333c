/**
 * Up to where in the stream a follower holds the latest message of every key.
 *
 * @module
 */

import type { Part } from "../../jetstream/log/feed.ts";
import { Gaps } from "../../jetstream/log/gaps.ts";

/** Fences remembered while the follower catches up. */
const AWAITED = 100;

/** A fence of our own. */
export interface WrittenFence {
  /** Its sequence. */
  sequence: number;
  /** The last message that had been received when it was about to be written. */
  seen: number;
}

/** Follows the sequences of messages as they come. */
export class Exactness {
  /** The last message that came. */
  received: number;
  /** The end of the last transaction that came. */
  upTo: number;
  /** Whether a fence of our own was reached. */
  caughtUp = false;
  readonly #gaps = new Gaps();
  #awaited: WrittenFence[] = [];

  /**
   * @param position The last message that is in
   * @param exact Whether nothing is missing up to there
   */
  constructor(position: number, exact: boolean) {
    this.received = position;
    this.upTo = position;
    if (!exact) this.#gaps.note(position);
  }

  /** Whether nothing is missing up to {@link upTo}. */
  get exact(): boolean {
    return !this.#gaps.open;
  }

  /**
   * Takes the next message.
   *
   * @param part Where it stands in its batch; `null` for one by itself
   * @returns Whether a transaction ended with it
   */
  take(revision: number, part: Part | null): boolean {
    if (revision !== this.received + 1) this.#gaps.note(revision);
    this.received = revision;
    if (part !== null && !part.last) return false;
    this.upTo = revision;
    this.#settle();
    return true;
  }

  /** Notes a fence of our own, which may have come already. */
  await(fence: WrittenFence): void {
    this.#awaited.push(fence);
    // The oldest is reached first; of the rest some may go.
    if (this.#awaited.length > AWAITED) this.#awaited.splice(1, 1);
    this.#settle();
  }

  #settle(): void {
    while (this.#awaited.length > 0 && this.#awaited[0]!.sequence <= this.upTo) {
      this.caughtUp = true;
      this.#gaps.reached(this.#awaited.shift()!.seen);
    }
  }
}
