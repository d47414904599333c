/**
 * What the transactions share: the bucket, the cache, deadlines, and what to do about a lost race.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Bucket, Entry, Write } from "../log/bucket.ts";
import type { Cache } from "../cache/cache.ts";
import { type Fence, isDecision, Reads } from "../log/fence.ts";
import { wait, WrongRevision } from "../log/wire.ts";

/** Tries of one operation before its caller hears `conflict`. */
const TRIES = 64;

/** The time an operation has, which grows with each step that a large one has come further. */
export interface Budget {
  /** By when the next step must be made. */
  readonly deadline: number;
  /** A step was made. */
  renew(): void;
}

/** One caller's place in the queue of a lock. */
interface Turn {
  /** When it is over. */
  readonly over: Promise<void>;
  /** By when the long operations of this turn, and of those before, had to be one step on. */
  until: number;
}

/** Shared by the parts of one store. */
export class Context {
  readonly #locks = new Map<string, Turn>();
  readonly #fence: Fence;

  /** The bucket. */
  readonly bucket: Bucket;
  /** The cache. */
  readonly cache: Cache;
  /** How long one operation may take, milliseconds. */
  readonly opTimeout: number;

  constructor(bucket: Bucket, fence: Fence, cache: Cache, opTimeout: number) {
    this.bucket = bucket;
    this.cache = cache;
    this.opTimeout = opTimeout;
    this.#fence = fence;
  }

  /** When an operation that begins now must have ended. */
  deadline(): number {
    return Date.now() + this.opTimeout;
  }

  /** Reads see at least this sequence: of this store's newest write, what it told listeners, and what its cache rests on. */
  get floor(): number {
    return this.cache.floor;
  }

  /** Notes a write that did not come through {@link commit}. */
  noteWritten(sequence: number): void {
    this.cache.wrote(sequence);
  }

  /** Commits, and lets the cache know what it must have seen before it answers again. */
  async commit(writes: Write[], deadline: number): Promise<number> {
    const last = await this.bucket.commit(writes, deadline);
    this.noteWritten(last);
    return last;
  }

  /**
   * Reads what is there of some keys as of a moment of this call, whoever led before: in a cluster that
   * costs a write, which those who read at the same time share.
   */
  read(keys: string[], deadline: number = this.deadline()): Promise<Map<string, Entry>> {
    return this.#fence.read(keys, deadline);
  }

  /** Reads one key as {@link read} does; `null` when there is nothing. */
  async readOne(key: string): Promise<Entry | null> {
    return (await this.read([key])).get(key) ?? null;
  }

  /** A sequence that whoever reads must have seen, to know all that was acknowledged before this call. */
  async fence(deadline: number): Promise<number> {
    return this.bucket.isClustered ? await this.#fence.sequence(deadline) : this.floor;
  }

  /** Makes sure of an answer that writes nothing; throws `WrongRevision` when it rests on old news. */
  confirm(reads: Reads, deadline: number): Promise<void> {
    return this.#fence.confirm(reads, deadline);
  }

  /**
   * Runs a read-modify-write, anew when its compare-and-set lost. Callers of this process with the
   * same `lock` wait for each other instead of racing; other processes are raced. What it reads
   * through `reads` is confirmed when the operation refuses; one that returns without a write has to
   * {@link confirm} that itself. It has `opTimeout`, and so long again for each step of a large one.
   */
  async transact<T>(
    what: string,
    lock: string,
    operation: (deadline: number, reads: Reads, budget: Budget) => Promise<T>,
  ): Promise<T> {
    const begun = this.deadline();
    const lost = new Set<string>();
    return await this.#locked(lock, async (turn) => {
      // Time spent behind a large operation that was getting on is none of this one's.
      const budget = {
        deadline: Math.max(begun, turn.until),
        renew: () => void (turn.until = budget.deadline = this.deadline()),
      };
      for (let tries = 1;; tries++) {
        const { deadline } = budget;
        if (Date.now() >= deadline) {
          throw new StoreError("unavailable", `${what}: not done in ${this.opTimeout} ms`);
        }
        const reads = new Reads(this.bucket, lost);
        try {
          return await this.#confirmed(reads, budget, () => operation(deadline, reads, budget));
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

  async #locked<T>(lock: string, run: (turn: Turn) => Promise<T>): Promise<T> {
    const before = this.#locks.get(lock);
    let release!: () => void;
    const mine: Turn = { over: new Promise<void>((resolve) => release = resolve), until: 0 };
    this.#locks.set(lock, mine);
    try {
      await before?.over;
      mine.until = before?.until ?? 0;
      return await run(mine);
    } finally {
      if (this.#locks.get(lock) === mine) this.#locks.delete(lock);
      release();
    }
  }
}
