/**
 * The keys of a list in its order: NATS has no range reads. Read by one scan at the first list, then
 * brought up to date by what has changed since; a list costs its page, not the bucket.
 *
 * @module
 */

import { type Bucket, type Entry, MARKER_TTL_SECONDS } from "../log/bucket.ts";
import { scan } from "../log/feed.ts";
import { unknownKey } from "../records/values.ts";
import { SortedTexts } from "./sorted.ts";

/** Changes read one by one before a scan of what has changed is the quicker way. */
const STEPS = 32;

/** What a directory lists. */
export interface DirectoryOptions {
  /** What is attempted, for messages. */
  what: string;
  /** The keys. */
  pattern: string;
  /** The id that a key bears, by which the list is ordered; `null` when it is not the key of an id. */
  idOf: (key: string) => string | null;
}

/** The ordered ids of the keys that match one pattern. */
export class Directory {
  readonly #bucket: Bucket;
  readonly #options: DirectoryOptions;
  readonly #patience: number;
  /** Keys that no id is written as. A list without them would leave records out. */
  readonly #unreadable = new Set<string>();
  readonly #ids = new SortedTexts();
  #isWhole = false;
  #sequence = 0;
  #readAt = -Infinity;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param bucket Where the keys are
   * @param patience How long reading them may go without progress, milliseconds
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

  /** Brings it up to date as of this call; `corrupt` when a key cannot be read. */
  async refresh(): Promise<void> {
    const turn = this.#turn.then(() => this.#refresh());
    this.#turn = turn.catch(() => {});
    await turn;
    for (const key of this.#unreadable) throw unknownKey(key, this.#options.what);
  }

  /** Ids behind `after`, or the first ones for `null`, at most `limit`. */
  after(after: string | null, limit: number): string[] {
    return this.#ids.after(after, limit);
  }

  async #refresh(): Promise<void> {
    const now = Date.now();
    // Delete markers are gone after a while: who has not looked for so long may have missed one.
    if (now - this.#readAt > MARKER_TTL_SECONDS * 500) this.#forget(now);
    if (!this.#isWhole || !await this.#step()) await this.#read();
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

  /** Reads a few changes one by one; whether there were no more. */
  async #step(): Promise<boolean> {
    for (let step = 0; step < STEPS; step++) {
      const deadline = Date.now() + this.#patience;
      const entry = await this.#bucket.next(this.#options.pattern, this.#sequence + 1, deadline);
      if (entry === null) return true;
      this.#apply(entry);
    }
    return false;
  }

  /** Reads all that has come since. What an interrupted scan has brought is kept: the next goes on. */
  async #read(): Promise<void> {
    await scan(this.#bucket, {
      pattern: this.#options.pattern,
      start: this.#sequence + 1,
      patience: this.#patience,
      onEntry: (entry) => this.#apply(entry),
    });
  }

  #apply({ key, data, revision }: Entry): void {
    this.#sequence = revision;
    const id = this.#options.idOf(key);
    const isThere = data.length > 0;
    if (id === null) {
      if (isThere) this.#unreadable.add(key);
      else this.#unreadable.delete(key);
    } else if (isThere) this.#ids.add(id);
    else this.#ids.delete(id);
  }
}

/** The directories that were used last. */
export class Directories {
  readonly #bucket: Bucket;
  readonly #patience: number;
  readonly #most: number;
  readonly #byPattern = new Map<string, Directory>();

  /** @param most How many are kept */
  constructor(bucket: Bucket, patience: number, most: number) {
    this.#bucket = bucket;
    this.#patience = patience;
    this.#most = most;
  }

  /** The directory of a pattern. */
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
