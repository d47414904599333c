/**
 * The keys of one kind in order, for lists: NATS has no range reads. Read by one scan at the first
 * list, then brought up to date by what has changed since; a list costs its page, not the bucket.
 *
 * @module
 */

import type { Range } from "../../core/backend.ts";
import { compareText } from "../../core/order.ts";
import { type Bucket, type Entry, MARKER_TTL_SECONDS } from "../log/bucket.ts";
import { scan } from "../log/feed.ts";
import { parseKey } from "../records/keys.ts";
import { unknownKey } from "../records/values.ts";
import { left } from "../log/wire.ts";

/** Changes read one by one before a scan is the quicker way. */
const STEPS = 32;

/** The ordered keys that match one pattern. */
export class Directory {
  readonly #bucket: Bucket;
  readonly #space: string;
  readonly #pattern: string;
  readonly #keyOf: (id: string) => string;
  /** Keys that no id is written as. A list without them would leave records out. */
  readonly #unreadable = new Set<string>();
  #ids: string[] | null = null;
  #sequence = 0;
  #readAt = 0;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param bucket Where the keys are
   * @param space The kind: the first part of the keys
   * @param keyOf The key of an id; lists are ordered by the id
   */
  constructor(bucket: Bucket, space: "rooms" | "users" | "invites", keyOf: (id: string) => string) {
    this.#bucket = bucket;
    this.#space = space;
    this.#pattern = `${space}.>`;
    this.#keyOf = keyOf;
  }

  /** The sequence up to which changes are in. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Ids behind `range.after`, up to date as of this call; `corrupt` when a key cannot be read. */
  async list(range: Range, deadline: number): Promise<string[]> {
    const turn = this.#turn.then(() => this.#refresh(deadline));
    this.#turn = turn.catch(() => {});
    const ids = await turn;
    for (const key of this.#unreadable) {
      throw unknownKey(key, `Listing ${this.#space}`);
    }
    const from = range.after === null ? 0 : upperBound(ids, range.after);
    return ids.slice(from, from + range.limit);
  }

  async #refresh(deadline: number): Promise<string[]> {
    const now = Date.now();
    // Delete markers are gone after a while: who has not looked for so long may have missed one.
    if (this.#ids === null || now - this.#readAt > MARKER_TTL_SECONDS * 500) {
      return await this.#read(deadline);
    }
    for (let step = 0; step < STEPS; step++) {
      const entry = await this.#bucket.next(this.#pattern, this.#sequence + 1, deadline);
      if (entry === null) {
        this.#readAt = now;
        return this.#ids;
      }
      this.#apply(this.#ids, entry);
    }
    return await this.#read(deadline);
  }

  async #read(deadline: number): Promise<string[]> {
    const ids = new Set<string>();
    this.#unreadable.clear();
    let sequence = 0;
    const readAt = Date.now();
    await scan(this.#bucket, {
      pattern: this.#pattern,
      patience: left(deadline),
      onEntry: (entry) => {
        const id = this.#idOf(entry);
        if (id !== null && entry.data.length > 0) ids.add(id);
        else if (id !== null) ids.delete(id);
        sequence = entry.revision;
      },
    });
    this.#ids = [...ids].sort(compareText);
    this.#sequence = sequence;
    this.#readAt = readAt;
    return this.#ids;
  }

  #apply(ids: string[], entry: Entry): void {
    this.#sequence = entry.revision;
    const id = this.#idOf(entry);
    if (id === null) return;
    const at = upperBound(ids, id);
    const there = ids[at - 1] === id;
    if (entry.data.length > 0) {
      if (!there) ids.splice(at, 0, id);
    } else if (there) ids.splice(at - 1, 1);
  }

  /** The id in a key; `null`, noted, when it is not the key of that id. */
  #idOf({ key, data }: Entry): string | null {
    const parsed = parseKey(key);
    const id = parsed?.space === "users" ? parsed.signPub : parsed && "id" in parsed && parsed.id;
    if (id && this.#keyOf(id) === key) return id;
    if (data.length > 0) this.#unreadable.add(key);
    else this.#unreadable.delete(key);
    return null;
  }
}

/** Index of the first id behind `id`. */
function upperBound(ids: string[], id: string): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareText(ids[middle]!, id) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
