/**
 * Whether what was read at the leader was so.
 *
 * A leader that is cut off from the others goes on answering reads for some seconds, while another one
 * is elected and takes writes. A write that is made shows by itself that its leader still led. An
 * answer without one does not: "is revoked already", "there is no such invite". It is confirmed: a
 * fence is written, which needs a majority, and what the answer rests on is read again, as of the
 * fence or later. When it is still the same, it was so at a moment of the call.
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../errors.ts";
import type { Bucket, Entry } from "./bucket.ts";
import { FENCE_KEY } from "./keys.ts";
import { WrongRevision } from "./wire.ts";

/** What one try of a transaction has read. */
export class Reads {
  readonly #bucket: Bucket;
  readonly #revisions = new Map<string, number>();

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  /** Reads a key's last message at the leader. */
  async get(key: string, deadline: number): Promise<Entry | null> {
    const entry = await this.#bucket.get(key, deadline);
    this.#revisions.set(key, entry === null || entry.data.length === 0 ? 0 : entry.revision);
    return entry;
  }

  /** What was read has been written meanwhile by this try itself. */
  forget(): void {
    this.#revisions.clear();
  }

  /** Keys and their revisions; 0 where there was nothing. */
  get revisions(): ReadonlyMap<string, number> {
    return this.#revisions;
  }
}

/** Confirms reads on one bucket. */
export class Fence {
  readonly #bucket: Bucket;
  /** The fence being written, and the one that those who come meanwhile will share. */
  #current: Promise<number> | null = null;
  #next: Promise<number> | null = null;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  /**
   * Makes sure that what was read was so.
   *
   * @throws {WrongRevision} When it was not
   */
  async confirm(reads: Reads, deadline: number): Promise<void> {
    // A server that is alone has nobody to be cut off from.
    const { cluster } = this.#bucket.nc.info as { cluster?: string };
    if (!cluster || reads.revisions.size === 0) return;
    const sequence = await this.#behindNow(deadline);
    const keys = [...reads.revisions.keys()];
    // The fence itself is asked for too: with nothing found no sequence would be told.
    const now = await this.#bucket.getMany([...keys, FENCE_KEY], sequence, deadline);
    for (const [key, revision] of reads.revisions) {
      if ((now.get(key)?.revision ?? 0) !== revision) {
        throw new WrongRevision(`${key} was read from a leader that had been replaced`);
      }
    }
  }

  /** The sequence of a fence whose writing begins after this call. Many callers share one. */
  #behindNow(deadline: number): Promise<number> {
    if (this.#current === null) return this.#start(deadline);
    this.#next ??= this.#current.catch(() => {}).then(() => this.#start(deadline));
    return this.#next;
  }

  #start(deadline: number): Promise<number> {
    const writing = this.#bucket.commit([{ key: FENCE_KEY, value: nuid.next() }], deadline)
      .finally(() => {
        if (this.#current === writing) this.#current = null;
      });
    this.#current = writing;
    this.#next = null;
    return writing;
  }
}

/** What an answer is that only a confirmed read may give; the rest says nothing of what is stored. */
export function isDecision(error: unknown): boolean {
  return error instanceof StoreError &&
    !["unavailable", "closed", "aborted", "corrupt", "unsupported"].includes(error.code);
}
