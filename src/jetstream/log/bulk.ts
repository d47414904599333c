/**
 * Writes many entries fast: atomic batches, several in flight, in order, each retried until it is
 * stored. Raw puts and deletes, for a bucket that no other client writes.
 *
 * @module
 */

import { BATCH_LIMIT, type Bucket, type Write } from "./bucket.ts";
import { takenOver } from "./marker.ts";
import { whenStuck } from "./stuck.ts";
import { aborted, WrongRevision } from "./wire.ts";

/** Batches in flight. */
const IN_FLIGHT = 4;
/** Timeout of a batch, with its retries, milliseconds. */
const BATCH_TIMEOUT = 120_000;

/** Options of {@link BulkWriter}. */
export interface BulkOptions {
  /**
   * A key and the revision it must have, else `conflict`: a batch that a server delayed cannot be
   * stored when the bulk write is over and others write.
   */
  guard?: { key: string; revision: number };
  /** Ends it: batches in flight are finished, no more are sent. */
  signal?: AbortSignal;
}

/** Collects entries into batches and keeps several in flight. */
export class BulkWriter {
  readonly #bucket: Bucket;
  readonly #signal: AbortSignal | undefined;
  readonly #guard: BulkOptions["guard"];
  #batch: Write[] = [];
  #weight = 0;
  readonly #running = new Set<Promise<void>>();
  #failed: { error: unknown } | null = null;
  #done = 0;

  constructor(bucket: Bucket, options: BulkOptions = {}) {
    this.#bucket = bucket;
    this.#signal = options.signal;
    this.#guard = options.guard;
  }

  /** Weight of the acknowledged entries. */
  get done(): number {
    return this.#done;
  }

  /** Adds a put, or a delete for `null`. Returns a promise when the caller has to wait. */
  write(key: string, value: string | null, weight = 1): Promise<void> | undefined {
    this.#batch.push({ key, value });
    this.#weight += weight;
    return this.#batch.length < BATCH_LIMIT ? undefined : this.#send();
  }

  /** Sends the rest and waits until all entries are stored. */
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
    const run = this.#bucket.commit(batch, Date.now() + BATCH_TIMEOUT, {
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
    while (this.#running.size >= IN_FLIGHT) await Promise.race(this.#running);
    this.#check();
  }

  #check(): void {
    if (this.#failed !== null) throw this.#failed.error;
    if (this.#signal?.aborted) throw aborted(this.#signal);
  }
}
