/**
 * Brings the bucket's messages into the file: in transactions that end where nothing is missing.
 *
 * @module
 */

import type { Bucket, Entry } from "../../jetstream/log/bucket.ts";
import { Feed } from "../../jetstream/log/feed.ts";
import { FENCE_KEY, isHistory } from "../../jetstream/records/keys.ts";
import { type Difference, Digests, readFence } from "./digests.ts";
import { type Ending, Gathered } from "./gathered.ts";
import { Exactness, type WrittenFence } from "./exactness.ts";
import type { Thread } from "../file/thread.ts";
import type { Expected, Held } from "../file/messages.ts";

/** While more messages are waiting, and something is missing, batches are not looked at. */
const NEAR = 2000;
/** Messages that are handed to the thread at once: copying them blocks for as long as they are many. */
const PIECE = 128;
/** Messages asked for at once: taking them apart takes a few milliseconds, then others have their turn. */
export const FEED_PIECE = 64;
/** How long messages are gathered before they are handed over, milliseconds. */
const GATHER = 20;
/** What is in one transaction at most while something is missing, messages. */
const LONGEST = 50_000;
/** Messages that may wait for the thread; above it the feed is stopped until half are done. */
const WAITING = 20_000;
/** How far the clocks of server and follower may be apart, milliseconds. */
const MARGIN = 60_000;

/** What an applier works on, and whom it tells. */
export interface ApplierOptions {
  /** The bucket. */
  bucket: Bucket;
  /** The file. */
  thread: Thread;
  /** What the file holds; `null` to load everything. */
  held: Held | null;
  /** The file holds something new. */
  onHeld(held: Held): void;
  /** Another follower holds something else. */
  onDifference(difference: Difference): void;
  /** It cannot go on. */
  onFailure(error: unknown): void;
}

/** When a server counted the messages of the stream. */
export interface Moment {
  /** When that was, by its clock, by which it removes what expires. */
  at: number;
  /** Whether it had removed what had expired when it was asked before. */
  wereRemoved: boolean;
}

/** Who wants to know how many messages there should be at a position. */
interface Asked {
  position: number;
  moment: Moment;
  resolve(expected: Promise<Expected> | null): void;
}

/** Applies messages until it is stopped. */
export class Applier {
  /** Where it stands. */
  readonly exactness: Exactness;
  /** Digests of ours and of others. */
  readonly digests = new Digests();
  /** Messages that the server has yet to send, as it says. */
  pending = 0;
  readonly #options: ApplierOptions;
  #feed: Feed | null = null;
  #loading: boolean;
  readonly #gathered = new Gathered();
  /** What was handed over last: up to where, and whether as exact. */
  #given: { position: number; exact: boolean };
  #uncommitted = 0;
  #waiting = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  #asked: Asked | null = null;
  #holding = false;

  constructor(options: ApplierOptions) {
    const { held } = options;
    this.#options = options;
    this.#loading = held === null;
    this.#given = { position: held?.position ?? 0, exact: held?.exact ?? false };
    this.exactness = new Exactness(this.#given.position, this.#given.exact);
  }

  /** Begins. */
  async start(): Promise<void> {
    const { thread, bucket: { name, created } } = this.#options;
    if (this.#loading) await thread.ask("load", { bucket: name, created });
    await this.#follow();
  }

  /** Ends. What was not committed stays in an open transaction of the thread. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#feed?.stop();
    this.#feed = null;
    this.#asked?.resolve(null);
  }

  /** Notes a fence of our own. */
  await(fence: WrittenFence): void {
    this.exactness.await(fence);
    this.#flush();
  }

  /** Hands nothing over until {@link expectedAt} is called, so that it can be asked for any position from now on. */
  hold(): void {
    this.#holding = true;
  }

  /**
   * Counts the messages there should be at a position; `null` when that is not known exactly.
   */
  async expectedAt(position: number, moment: Moment): Promise<Expected | null> {
    try {
      const { received } = this.exactness;
      if (position > received) {
        this.#release();
        this.#asked?.resolve(null);
        return await new Promise((resolve) => this.#asked = { position, moment, resolve });
      }
      const ending = this.#gathered.at(position);
      if (ending?.exact) this.#give(ending, true);
      else if (this.#given.position !== position || !this.#given.exact) return null;
      return await this.#count(moment);
    } finally {
      this.#release();
    }
  }

  #count(moment: Moment): Promise<Expected> {
    return this.#options.thread.ask("expected", { ...moment, margin: MARGIN });
  }

  #release(): void {
    if (!this.#holding) return;
    this.#holding = false;
    this.#flush();
  }

  async #follow(): Promise<void> {
    const feed: Feed = new Feed(this.#options.bucket, {
      // All messages: then the sequence says it all.
      pattern: null,
      start: this.exactness.received + 1,
      piece: FEED_PIECE,
      onEntry: (entry, pending) => this.#take(feed, entry, pending),
      onEnd: (error) => this.#fail(error),
    });
    this.#feed = feed;
    try {
      this.pending = await feed.start();
    } catch (error) {
      feed.stop();
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.stop();
    this.#options.onFailure(error);
  }

  #take(feed: Feed, entry: Entry, pending: number): void {
    if (this.#stopped || feed !== this.#feed) return;
    const { exactness } = this;
    this.pending = pending;
    const isFar = !exactness.exact && pending >= NEAR;
    const mayExpire = entry.data.length === 0 || isHistory(entry.key);
    this.#gathered.add(entry, feed.writtenAt, mayExpire ? feed.expires : null);
    const isFence = entry.key === FENCE_KEY;
    if (exactness.take(entry.revision, isFar ? null : feed.part)) this.#end(isFence);
    if (isFence) {
      this.#flush();
      const told = readFence(entry.data);
      if (told !== null) this.#judge(this.digests.hear(told));
    } else if (this.#gathered.size >= PIECE) this.#flush();
    this.#timer ??= setTimeout(() => this.#flush(), GATHER);
    if (this.#waiting + this.#gathered.size < WAITING) return;
    feed.stop();
    this.#feed = null;
    this.#release();
    this.#flush();
  }

  #end(isFence: boolean): void {
    const { upTo: position, exact } = this.exactness;
    const ending = this.#gathered.end(position, exact, isFence);
    const asked = this.#asked;
    if (asked === null || position < asked.position) return;
    this.#asked = null;
    const isThere = position === asked.position && exact;
    if (isThere) this.#give(ending, true);
    asked.resolve(isThere ? this.#count(asked.moment) : null);
  }

  /** Hands over what came up to the end of the last transaction, cut at fences. */
  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#stopped || this.#holding) return;
    const gathered = this.#gathered;
    for (let it = gathered.fence(); it !== undefined; it = gathered.fence()) this.#give(it);
    const { exact, upTo: position } = this.exactness;
    const count = gathered.whole;
    if (count > 0 || (exact && !this.#given.exact)) {
      this.#give({ count, position, exact, isFence: false });
    }
  }

  /** Hands messages over; the transaction ends where nothing is missing, or when it grows too long. */
  #give({ count, position, exact, isFence }: Ending, mustEnd = false): void {
    this.#uncommitted += count;
    // Small transactions are dear while many messages wait.
    const ends = this.#loading
      ? exact || this.exactness.caughtUp
      : this.#uncommitted > LONGEST || (exact && (mustEnd || this.pending < NEAR));
    const end = ends ? { position, exact } : null;
    if (ends) {
      this.#uncommitted = 0;
      this.#loading = false;
    }
    this.#given = { position, exact: exact && ends };
    this.#waiting += count;
    this.#options.thread.ask("apply", { ...this.#gathered.take(count), end }).then((held) => {
      this.#waiting -= count;
      if (this.#stopped) return;
      if (held !== null) this.#committed(held, isFence);
      if (this.#feed === null && this.#waiting < WAITING / 2) void this.#follow();
    }).catch((error) => this.#fail(error));
  }

  #committed(held: Held, isFence: boolean): void {
    this.#options.onHeld(held);
    if (held.exact && isFence) this.#judge(this.digests.note(held.position, held.digest));
  }

  #judge(difference: Difference | null): void {
    if (difference !== null) this.#options.onDifference(difference);
  }
}
