/**
 * Keeps the keys of a list in order, because NATS has no range reads. The first list scans its keys, or
 * takes those that a follower holds; later ones apply the changes since, so a list costs its page, not
 * the bucket.
 *
 * @module
 */

import { type Bucket, type Entry, MARKER_TTL_SECONDS } from "../log/bucket.ts";
import { scan } from "../log/feed.ts";
import { unknownKey } from "../records/values.ts";
import { SortedTexts } from "./sorted.ts";

/** Number of changes up to which reading them individually is faster than a scan of the changes. */
const STEPS = 32;

/** What a directory lists. */
export interface DirectoryOptions {
  /** The attempted operation, for error messages. */
  what: string;
  /** Pattern of the keys. */
  pattern: string;
  /** Returns the ID of a key, by which the list is ordered; `null` if the key is not the encoding of an ID. */
  idOf: (key: string) => string | null;
}

/** The ordered IDs of the keys that match one pattern. */
export class Directory {
  readonly #bucket: Bucket;
  readonly #options: DirectoryOptions;
  readonly #patience: number;
  /** Keys that are not the encoding of an ID. A list without them would omit records. */
  readonly #unreadable = new Set<string>();
  readonly #ids = new SortedTexts();
  #isWhole = false;
  #sequence = 0;
  #readAt = -Infinity;
  /** When a change was applied last. */
  #progressAt = 0;
  /** The last refresh; whether it failed. */
  #turn: Promise<boolean> = Promise.resolve(false);

  /**
   * @param bucket The bucket
   * @param patience Milliseconds that reading keys may take without progress
   */
  constructor(bucket: Bucket, patience: number, options: DirectoryOptions) {
    this.#bucket = bucket;
    this.#patience = patience;
    this.#options = options;
  }

  /** The sequence up to which changes have been applied. */
  get sequence(): number {
    return this.#sequence;
  }

  /**
   * Applies the changes up to this call.
   *
   * @throws {StoreError} corrupt: a key cannot be read
   */
  async refresh(): Promise<void> {
    const begun = Date.now();
    const turn = this.#turn.then((failed) => {
      // Who waited for one that failed has seen no progress either.
      const waited = failed ? Date.now() - Math.max(begun, this.#progressAt) : 0;
      return this.#refresh(Math.max(1, this.#patience - waited));
    });
    this.#turn = turn.then(() => false, () => true);
    await turn;
    for (const key of this.#unreadable) throw unknownKey(key, this.#options.what);
  }

  /** Returns up to `limit` IDs after `after`, or the first ones for `null`. */
  after(after: string | null, limit: number): string[] {
    return this.#ids.after(after, limit);
  }

  async #refresh(patience: number): Promise<void> {
    const now = Date.now();
    // Delete markers expire: after a long time without an update, one may have been missed.
    if (now - this.#readAt > MARKER_TTL_SECONDS * 500) this.#forget(now);
    const isKnown = this.#isWhole || await this.#takeOver(now);
    if (!isKnown || !await this.#step(patience)) await this.#read(patience);
    this.#isWhole = true;
    this.#readAt = now;
  }

  #forget(now: number): void {
    this.#isWhole = false;
    this.#readAt = now;
    this.#sequence = 0;
    this.#ids.clear();
    this.#unreadable.clear();
  }

  /**
   * Takes the keys that a follower holds, of which the stream was compared with it; what came after its
   * position follows.
   *
   * @returns Whether there is one that holds everything
   */
  async #takeOver(now: number): Promise<boolean> {
    const { witness } = this.#bucket;
    const { pattern } = this.#options;
    if (this.#sequence > 0 || !witness?.keys || !pattern.endsWith(".>")) return false;
    const prefix = pattern.slice(0, -1);
    let position = 0;
    try {
      for (let after = prefix;;) {
        const found = await witness.keys(prefix, after);
        if (found === null || found.position === 0) break;
        position ||= found.position;
        this.#progressAt = Date.now();
        const last = found.keys.at(-1);
        if (last === undefined) {
          this.#sequence = position;
          return true;
        }
        for (const key of found.keys) this.#put(key, true);
        after = last;
      }
    } catch {
      // It was closed: the stream has the keys.
    }
    this.#forget(now);
    return false;
  }

  /** Reads a few changes individually; returns whether there are no more. */
  async #step(patience: number): Promise<boolean> {
    for (let step = 0; step < STEPS; step++) {
      const deadline = Date.now() + patience;
      const entry = await this.#bucket.next(this.#options.pattern, this.#sequence + 1, deadline);
      if (entry === null) return true;
      this.#apply(entry);
    }
    return false;
  }

  /** Scans the changes. The next call continues a scan that was interrupted. */
  async #read(patience: number): Promise<void> {
    await scan(this.#bucket, {
      pattern: this.#options.pattern,
      start: this.#sequence + 1,
      patience,
      onEntry: (entry) => this.#apply(entry),
    });
  }

  #apply({ key, data, revision }: Entry): void {
    this.#sequence = revision;
    this.#progressAt = Date.now();
    this.#put(key, data.length > 0);
  }

  #put(key: string, isThere: boolean): void {
    const id = this.#options.idOf(key);
    if (id === null) {
      if (isThere) this.#unreadable.add(key);
      else this.#unreadable.delete(key);
    } else if (isThere) this.#ids.add(id);
    else this.#ids.delete(id);
  }
}

/** Keeps the directories that were used last. */
export class Directories {
  readonly #bucket: Bucket;
  readonly #patience: number;
  readonly #most: number;
  readonly #byPattern = new Map<string, Directory>();

  /** @param most Number of directories to keep */
  constructor(bucket: Bucket, patience: number, most: number) {
    this.#bucket = bucket;
    this.#patience = patience;
    this.#most = most;
  }

  /** Returns the directory of a pattern. */
  of(options: DirectoryOptions): Directory {
    const { pattern } = options;
    const found = this.#byPattern.get(pattern) ??
      new Directory(this.#bucket, this.#patience, options);
    this.#byPattern.delete(pattern);
    this.#byPattern.set(pattern, found);
    for (const oldest of this.#byPattern.keys()) {
      if (this.#byPattern.size <= this.#most) break;
      this.#byPattern.delete(oldest);
    }
    return found;
  }
}
