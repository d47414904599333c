/**
 * Messages that have come and were not handed over to the thread.
 *
 * @module
 */

import type { Entry } from "../../jetstream/log/bucket.ts";
import { changeOf, HASH_BYTES, hashOf } from "../file/changes.ts";
import type { Change, Changes } from "../file/messages.ts";

const NO_HASH = new Uint8Array(HASH_BYTES);

/** Where a transaction of the bucket ended among them. */
export interface Ending {
  /** How many messages stand before it. */
  count: number;
  /** Its sequence. */
  position: number;
  /** Whether nothing is missing there. */
  exact: boolean;
  /** Whether it is a fence, where followers compare digests. */
  isFence: boolean;
}

/** Messages in the stream's order, taken apart. */
export class Gathered {
  #changes: Change[] = [];
  #hashes: Uint8Array[] = [];
  #endings: Ending[] = [];

  /** How many there are. */
  get size(): number {
    return this.#changes.length;
  }

  /** How many of them belong to transactions that have ended. */
  get whole(): number {
    return this.#endings.at(-1)?.count ?? 0;
  }

  /** Takes a message in, when it was written by the server's clock, and when the server removes it. */
  add(entry: Entry, writtenAt: number, expires: number | null): void {
    const change = changeOf(entry, writtenAt, expires);
    this.#changes.push(change);
    this.#hashes.push(change.live ? hashOf(entry) : NO_HASH);
  }

  /** Notes that a transaction ended with the last message. */
  end(position: number, exact: boolean, isFence: boolean): Ending {
    const ending = { count: this.size, position, exact, isFence };
    this.#endings.push(ending);
    return ending;
  }

  /** The first fence where nothing is missing. */
  fence(): Ending | undefined {
    return this.#endings.find(({ isFence, exact }) => isFence && exact);
  }

  /** The end at a position. */
  at(position: number): Ending | undefined {
    return this.#endings.find((it) => it.position === position);
  }

  /** Removes the first messages, to be handed over. */
  take(count: number): Omit<Changes, "end"> {
    const changes = this.#changes.splice(0, count);
    const hashes = new Uint8Array(count * HASH_BYTES);
    for (const [i, it] of this.#hashes.splice(0, count).entries()) hashes.set(it, i * HASH_BYTES);
    this.#endings = this.#endings.filter((it) => it.count > count)
      .map((it) => ({ ...it, count: it.count - count }));
    return { changes, hashes };
  }
}
