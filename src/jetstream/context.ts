/**
 * What the transactions share: the bucket, the cache, deadlines, and what to do about a lost race.
 *
 * @module
 */

import { StoreError } from "../errors.ts";
import type { Bucket, Entry, Write } from "./bucket.ts";
import type { Cache } from "./cache.ts";
import { wait, WrongRevision } from "./wire.ts";

/** Tries of one operation before its caller hears `conflict`. */
const TRIES = 64;

/** Shared by the parts of one store. */
export class Context {
  readonly #locks = new Map<string, Promise<void>>();

  /** The bucket. */
  readonly bucket: Bucket;
  /** The cache. */
  readonly cache: Cache;
  /** How long one operation may take, milliseconds. */
  readonly opTimeout: number;

  constructor(bucket: Bucket, cache: Cache, opTimeout: number) {
    this.bucket = bucket;
    this.cache = cache;
    this.opTimeout = opTimeout;
  }

  /** When an operation that begins now must have ended. */
  deadline(): number {
    return Date.now() + this.opTimeout;
  }

  /** Reads see at least this sequence: that of this store's newest write, and of what it told listeners. */
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
   * Runs a read-modify-write, anew when its compare-and-set lost. Callers of this process with the
   * same `lock` wait for each other instead of racing; other processes are raced.
   */
  async transact<T>(
    what: string,
    lock: string,
    operation: (deadline: number) => Promise<T>,
  ): Promise<T> {
    const deadline = this.deadline();
    return await this.#locked(lock, async () => {
      for (let tries = 1;; tries++) {
        if (Date.now() >= deadline) {
          throw new StoreError("unavailable", `${what}: not done in ${this.opTimeout} ms`);
        }
        try {
          return await operation(deadline);
        } catch (error) {
          if (!(error instanceof WrongRevision)) throw error;
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

  async #locked<T>(lock: string, run: () => Promise<T>): Promise<T> {
    const before = this.#locks.get(lock);
    let release!: () => void;
    const mine = new Promise<void>((resolve) => release = resolve);
    this.#locks.set(lock, mine);
    try {
      await before;
      return await run();
    } finally {
      if (this.#locks.get(lock) === mine) this.#locks.delete(lock);
      release();
    }
  }
}

/** The revision to expect of a key as it was read: 0 for one that never was. */
export function revisionOf(entry: Entry | null): number {
  return entry?.revision ?? 0;
}

/** The entry, or `null` for none and for a delete marker. */
export function alive(entry: Entry | null): Entry | null {
  return entry !== null && entry.data.length > 0 ? entry : null;
}
