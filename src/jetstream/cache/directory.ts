/**
 * Keeps the keys of one kind in order, for lists, because NATS has no range reads. The first list
 * scans the bucket; later ones apply the changes since, so a list costs its page, not the bucket.
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

/** Number of changes up to which reading them individually is faster than a scan. */
const STEPS = 32;

/** The ordered keys of one kind. */
export class Directory {
  readonly #bucket: Bucket;
  readonly #space: string;
  readonly #pattern: string;
  readonly #keyOf: (id: string) => string;
  /** Keys that are not the encoding of an ID. A list without them would omit records. */
  readonly #unreadable = new Set<string>();
  #ids: string[] | null = null;
  #sequence = 0;
  #readAt = 0;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param bucket The bucket
   * @param space The kind: the first part of the keys
   * @param keyOf Returns the key of an ID; lists are ordered by ID
   */
  constructor(bucket: Bucket, space: "rooms" | "users" | "invites", keyOf: (id: string) => string) {
    this.#bucket = bucket;
    this.#space = space;
    this.#pattern = `${space}.>`;
    this.#keyOf = keyOf;
  }

  /** The sequence up to which changes have been applied. */
  get sequence(): number {
    return this.#sequence;
  }

  /**
   * Returns the IDs after `range.after`, up to date as of this call.
   *
   * @throws {StoreError} corrupt: a key cannot be read
   */
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
    // Delete markers expire: after a long time without an update, one may have been missed.
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

  /**
   * Returns the ID of a key; records the key and returns `null` if it is not the encoding of an ID.
   */
  #idOf({ key, data }: Entry): string | null {
    const parsed = parseKey(key);
    const id = parsed?.space === "users" ? parsed.signPub : parsed && "id" in parsed && parsed.id;
    if (id && this.#keyOf(id) === key) return id;
    if (data.length > 0) this.#unreadable.add(key);
    else this.#unreadable.delete(key);
    return null;
  }
}

/** Returns the index of the first ID after `id`. */
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
