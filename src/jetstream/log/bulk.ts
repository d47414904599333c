/**
<<<<<<< HEAD
 * Writes many entries fast: atomic batches, several in flight, in order, each retried until it is
 * stored. Raw puts and deletes, for a bucket that no other client writes.
=======
 * Writes many entries fast: several atomic batches in flight, in order, each retried until it
 * succeeds. Unconditional puts and deletes, for a bucket without other writers.
>>>>>>> 06acc0f (Word the log's and the completions' docstrings plainly)
 *
 * @module
 */

import { BATCH_LIMIT, type Bucket, type Write } from "./bucket.ts";
import { takenOver } from "./marker.ts";
import { whenStuck } from "./stuck.ts";
import { aborted, WrongRevision } from "./wire.ts";

<<<<<<< HEAD
/** Options of {@link BulkWriter}. */
export interface BulkOptions {
  /** Batches in flight. Default 4. */
  inFlight?: number;
  /** Timeout of a batch, with its retries, milliseconds. Default 120,000. */
  batchTimeout?: number;
  /**
   * A key and the revision it must have, else `conflict`: a batch that a server delayed cannot be
   * stored when the bulk write is over and others write.
   */
  guard?: { key: string; revision: number };
  /** Ends it: batches in flight are finished, no more are sent. */
=======
/** Options of a bulk write. */
export interface BulkOptions {
  /** Batches in flight. Default 4. */
  inFlight?: number;
  /** Time limit of a batch in milliseconds. Default 120,000. */
  batchTimeout?: number;
  /**
   * A key and its expected revision, else `conflict`: prevents a batch that a server delayed from
   * being written after the bulk write has ended.
   */
  guard?: { key: string; revision: number };
  /** Aborts the bulk write: batches in flight complete, no more are sent. */
>>>>>>> 06acc0f (Word the log's and the completions' docstrings plainly)
  signal?: AbortSignal;
}

/** Collects entries into batches and keeps several in flight. */
export class BulkWriter {
  readonly #bucket: Bucket;
  readonly #inFlight: number;
  readonly #batchTimeout: number;
  readonly #signal: AbortSignal | undefined;
  readonly #guard: BulkOptions["guard"];
  #batch: Write[] = [];
  #weight = 0;
  readonly #running = new Set<Promise<void>>();
  #failed: { error: unknown } | null = null;
  #done = 0;

  constructor(bucket: Bucket, options: BulkOptions = {}) {
    this.#bucket = bucket;
    this.#inFlight = options.inFlight ?? 4;
    this.#batchTimeout = options.batchTimeout ?? 120_000;
    this.#signal = options.signal;
    this.#guard = options.guard;
  }

<<<<<<< HEAD
  /** Weight of the acknowledged entries. */
=======
  /** Total weight of the acknowledged entries. */
>>>>>>> 06acc0f (Word the log's and the completions' docstrings plainly)
  get done(): number {
    return this.#done;
  }

<<<<<<< HEAD
  /** Adds a put, or a delete for `null`. Returns a promise when the caller has to wait. */
=======
  /** Adds a put, or a delete for `null`. Returns a promise if the caller must wait. */
>>>>>>> 06acc0f (Word the log's and the completions' docstrings plainly)
  write(key: string, value: string | null, weight = 1): Promise<void> | undefined {
    this.#batch.push({ key, value });
    this.#weight += weight;
    return this.#batch.length < BATCH_LIMIT ? undefined : this.#send();
  }

<<<<<<< HEAD
  /** Sends the rest and waits until all entries are stored. */
=======
  /** Sends the remaining entries and waits until all are acknowledged. */
>>>>>>> 06acc0f (Word the log's and the completions' docstrings plainly)
  async flush(): Promise<void> {
    if (this.#batch.length > 0) await this.#send();
    await Promise.all(this.#running);
    this.#check();
  }

  async #send(): Promise<void> {
    this.#check();
    const batch = this.#batch;
    const weight = this.#weight;
    this.#batch = [];
    this.#weight = 0;
    if (this.#guard !== undefined) batch[0] = { ...batch[0]!, guard: this.#guard };
    const run = this.#bucket.commit(batch, Date.now() + this.#batchTimeout, {
      signal: this.#signal,
      alone: true,
      onOpen: whenStuck(this.#bucket),
    }).then(
      () => {
        this.#done += weight;
      },
      (error) => {
        this.#failed ??= { error: error instanceof WrongRevision ? takenOver(error) : error };
      },
    ).finally(() => this.#running.delete(run));
    this.#running.add(run);
    while (this.#running.size >= this.#inFlight) await Promise.race(this.#running);
    this.#check();
  }

  #check(): void {
    if (this.#failed !== null) throw this.#failed.error;
    if (this.#signal?.aborted) throw aborted(this.#signal);
  }
}
