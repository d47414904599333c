/**
 * Shared by all transactions: the bucket, the cache, deadlines, and retries after lost races.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Author, Draft } from "../../core/history/entry.ts";
import { formatRevision } from "../../core/history/revision.ts";
import type { Bucket, Entry, Write } from "../log/bucket.ts";
import type { Cache } from "../cache/cache.ts";
import { encodeEntry } from "../records/entries.ts";
import { type Fence, isDecision, Reads } from "../log/fence.ts";
import { wait, WrongRevision } from "../log/wire.ts";

/** Number of attempts of an operation before it fails with `conflict`. */
const TRIES = 64;

/** A change, for the history. */
export interface Change {
  /** Who makes it. */
  readonly author: Author;
  /** What is told of it. */
  readonly draft: Draft;
}

/** The time limit of an operation, which a large one extends with each completed step. */
export class Budget {
  readonly #opTimeout: number;
  #deadline: number;

  /** @param opTimeout The time limit in milliseconds, from now on */
  constructor(opTimeout: number) {
    this.#opTimeout = opTimeout;
    this.#deadline = Date.now() + opTimeout;
  }

  /** Deadline of the next step. */
  get deadline(): number {
    return this.#deadline;
  }

  /** Records a completed step. */
  renew(): void {
    this.#deadline = Date.now() + this.#opTimeout;
  }

  /** Lasts as long as another one, at least. */
  join({ deadline }: Budget): void {
    this.#deadline = Math.max(this.#deadline, deadline);
  }

  /**
   * Reads, which may take long. An answer is no step, because a server without a majority gives one too: the
   * deadline is later by what it took.
   */
  async read<T>(work: () => Promise<T>): Promise<T> {
    const begun = Date.now();
    const answer = await work();
    this.#deadline += Date.now() - begun;
    return answer;
  }
}

/** A caller's turn in the queue of a lock. */
interface Turn {
  /** Resolves when the turn is over. */
  readonly over: Promise<void>;
  /** That of the operation in this turn, which lasts as long as those of earlier ones. */
  readonly budget: Budget;
}

/** The context of one store's transactions. */
export class Context {
  readonly #locks = new Map<string, Turn>();
  readonly #fence: Fence;

  /** The bucket. */
  readonly bucket: Bucket;
  /** The cache. */
  readonly cache: Cache;
  /** Time limit of an operation in milliseconds. */
  readonly opTimeout: number;
  /** Whether changes have an entry in the history. */
  readonly keepsHistory: boolean;
  /** The sequence of the last history entry that this store has written. */
  newestEntry = 0;

  constructor(
    bucket: Bucket,
    fence: Fence,
    cache: Cache,
    { opTimeout, keepsHistory }: { opTimeout: number; keepsHistory: boolean },
  ) {
    this.bucket = bucket;
    this.cache = cache;
    this.opTimeout = opTimeout;
    this.keepsHistory = keepsHistory;
    this.#fence = fence;
  }

  /** Returns the time limit of an operation that starts now, and may be large. */
  budget(): Budget {
    return new Budget(this.opTimeout);
  }

  /** Returns the deadline of an operation that starts now. */
  deadline(): number {
    return Date.now() + this.opTimeout;
  }

  /**
   * Minimum sequence of reads: this store's newest write, notified changes, and the basis of its
   * cache.
   */
  get floor(): number {
    return this.cache.floor;
  }

  /** Records a write that was not made through {@link commit}. */
  noteWritten(sequence: number): void {
    this.cache.wrote(sequence);
  }

  /**
   * Commits, with an entry in the history if this makes a change, and makes the cache wait for the write
   * before it answers.
   *
   * @returns The revision of the first message
   */
  async commit(writes: Write[], deadline: number, change?: Change): Promise<number> {
    const { generation } = this.bucket;
    const entry = change && this.entryOf(change);
    const last = await this.bucket.commit(writes, deadline, { entry });
    this.noteWritten(last);
    if (entry !== undefined) this.newestEntry = Math.max(this.newestEntry, last);
    change?.author.wrote(formatRevision({ generation, number: last }));
    return last - writes.length + (entry === undefined ? 1 : 0);
  }

  /** Returns the entry of a change; `undefined` if no history is kept. */
  entryOf({ author, draft }: Change): string | undefined {
    return this.keepsHistory ? encodeEntry(draft, author, this.bucket.generation) : undefined;
  }

  /**
   * Reads keys as of a moment during this call, even after a change of leader: in a cluster this
   * costs a write, which concurrent readers share.
   */
  read(keys: string[], deadline: number = this.deadline()): Promise<Map<string, Entry>> {
    return this.#fence.read(keys, deadline);
  }

  /** Reads one key like {@link read}; returns `null` if it does not exist. */
  async readOne(key: string): Promise<Entry | null> {
    return (await this.read([key])).get(key) ?? null;
  }

  /**
   * Returns the minimum sequence of a read that includes everything acknowledged before this call.
   */
  async fence(deadline: number): Promise<number> {
    return this.bucket.isClustered ? await this.#fence.sequence(deadline) : this.floor;
  }

  /**
   * Confirms an answer that writes nothing; throws `WrongRevision` if it is based on outdated
   * reads.
   */
  confirm(reads: Reads, deadline: number): Promise<void> {
    return this.#fence.confirm(reads, deadline);
  }

  /**
   * Runs a read-modify-write operation and retries it when its compare-and-set fails. Callers in
   * this process with the same `lock` wait for each other; other processes race. When the operation
   * rejects, what it read through `reads` is confirmed; an operation that returns without a write
   * must {@link confirm} it itself. Its time limit is `opTimeout`, and again for each step of a
   * large one.
   */
  async transact<T>(
    what: string,
    lock: string,
    operation: (deadline: number, reads: Reads, budget: Budget) => Promise<T>,
  ): Promise<T> {
    const budget = this.budget();
    const lost = new Set<string>();
    return await this.#locked(lock, budget, async () => {
      for (let tries = 1;; tries++) {
        const { deadline } = budget;
        if (Date.now() >= deadline) {
          throw new StoreError("unavailable", `${what}: not completed within ${this.opTimeout} ms`);
        }
        const reads = new Reads(this.bucket, lost);
        try {
          const result = await this.#confirmed(
            reads,
            budget,
            () => operation(deadline, reads, budget),
          );
          budget.renew();
          return result;
        } catch (error) {
          if (!(error instanceof WrongRevision)) throw error;
          reads.noteLost(error);
          if (tries >= TRIES) {
            throw new StoreError("conflict", `${what}: lost ${tries} races in a row`, {
              cause: error,
            });
          }
          await wait(Math.random() * Math.min(2 ** tries, 100));
        }
      }
    });
  }

  async #confirmed<T>(
    reads: Reads,
    budget: Budget,
    operation: () => Promise<T>,
  ): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      if (isDecision(error)) await this.confirm(reads, budget.deadline);
      throw error;
    }
  }

  async #locked<T>(lock: string, budget: Budget, run: () => Promise<T>): Promise<T> {
    const before = this.#locks.get(lock);
    let release!: () => void;
    const mine: Turn = { over: new Promise<void>((resolve) => release = resolve), budget };
    this.#locks.set(lock, mine);
    try {
      await before?.over;
      // Time spent waiting for operations that made progress does not count.
      if (before !== undefined) budget.join(before.budget);
      return await run();
    } finally {
      if (this.#locks.get(lock) === mine) this.#locks.delete(lock);
      release();
    }
  }
}
