/**
 * Whether others write to the bucket during a live move into it: a program that had it open when the control
 * plane left it, and does not know of moves, can write again as soon as the next one has begun.
 *
 * @module
 */

import type { Bucket } from "../../jetstream/log/bucket.ts";
import { isAside } from "../../jetstream/records/keys.ts";

/** What a run knows of the messages in its bucket. */
export class OwnWrites {
  /** Up to this sequence nobody else has written since the bucket was compared with the file. */
  position: number;
  /** Later messages of the run, by their first and last sequence, in order. */
  #own: [first: number, last: number][] = [];

  /** @param position Sequence of the mark of the run */
  constructor(position: number) {
    this.position = position;
  }

  /** Notes messages that the run has written. */
  add(last: number, count: number): void {
    this.#own.push([last - count + 1, last]);
  }

  /** Notes that all messages up to a sequence were compared with the file. */
  compared(upTo: number): void {
    this.position = Math.max(this.position, upTo);
  }

  /** Looks at what was written since; returns a key that somebody else wrote, `null` if there is none. */
  async foreign(bucket: Bucket, deadline: number): Promise<string | null> {
    for (;;) {
      this.#skip();
      const entry = await bucket.next(">", this.position + 1, deadline);
      if (entry === null) return null;
      const { key, revision } = entry;
      // Of a batch of the run, later messages may have replaced the first ones.
      const isOwn = this.#own.some(([first, last]) => first <= revision && revision <= last);
      if (!isOwn && !isAside(key)) return key;
      this.position = revision;
    }
  }

  /** Advances over messages of the run. */
  #skip(): void {
    while (this.#own.length > 0 && this.#own[0]![0] <= this.position + 1) {
      this.position = Math.max(this.position, this.#own.shift()![1]);
    }
  }
}
