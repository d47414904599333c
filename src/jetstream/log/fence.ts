/**
 * Confirms reads at the leader.
 *
 * An isolated leader continues to answer reads for some seconds, while another leader has been
 * elected and accepts writes. A successful write proves that its leader is still valid. An answer
 * without a write does not, such as a record, "already revoked" or "no such invite". So a fence is
 * written, which requires a majority, and the data of the answer is read as of the fence or later.
 * For a rejection the data was read before: if it is unchanged, it was valid at a moment during the
 * call.
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { within } from "../../core/async/wait.ts";
import { BATCH_LIMIT, type Bucket, type Entry } from "./bucket.ts";
import { FENCE_KEY, isAside } from "../records/keys.ts";
import { streamInfo } from "./stream.ts";
import { left, retry, Transient, WrongRevision } from "./wire.ts";

/** The reads of one attempt of a transaction. */
export class Reads {
  readonly #bucket: Bucket;
  readonly #revisions = new Map<string, number>();
  readonly #lost: Set<string>;

  /** @param lost IDs of earlier attempts of the operation that were reported as lost */
  constructor(bucket: Bucket, lost: Set<string> = new Set()) {
    this.#bucket = bucket;
    this.#lost = lost;
  }

  /** Records an attempt that was reported as lost. */
  noteLost({ txn }: WrongRevision): void {
    if (txn !== undefined) this.#lost.add(txn);
  }

  /** Reports whether an entry was written by an attempt that was reported as lost. */
  isOwn(entry: Entry | undefined): boolean {
    return entry?.txn !== undefined && this.#lost.has(entry.txn);
  }

  /** Reads a key's last message at the leader. */
  async get(key: string, deadline: number): Promise<Entry | null> {
    const entry = await this.#bucket.get(key, deadline);
    this.#revisions.set(key, entry === null || entry.data.length === 0 ? 0 : entry.revision);
    return entry;
  }

  /** Records that this attempt itself has written a key that it read. */
  forget(): void {
    this.#revisions.clear();
  }

  /** Keys and their revisions; 0 if they did not exist. */
  get revisions(): ReadonlyMap<string, number> {
    return this.#revisions;
  }
}

/** Readers that share a fence, and their result. */
interface Group {
  keys: Set<string>;
  found: Promise<Map<string, Entry>>;
}

/** Confirms reads of a bucket. */
export class Fence {
  readonly #bucket: Bucket;
  readonly #opTimeout: number;
  /** The fence being written. */
  #writing: Promise<unknown> | null = null;
  /** The readers that will share the next fence. */
  #waiting: Group | null = null;

  /** @param opTimeout Maximum time that a caller waits, in milliseconds */
  constructor(bucket: Bucket, opTimeout: number) {
    this.#bucket = bucket;
    this.#opTimeout = opTimeout;
    void this.#bucket.isClustered;
  }

  /** Reads keys as of one moment during this call. */
  async read(keys: string[], deadline: number): Promise<Map<string, Entry>> {
    const behind = this.#bucket.isClustered ? await this.#readBehind(keys, deadline) : null;
    const found = new Map<string, Entry>();
    for (const key of keys) {
      const entry = behind === null ? await this.#bucket.get(key, deadline) : behind.get(key);
      if (isThere(entry)) found.set(key, entry);
    }
    return found;
  }

  /**
   * Confirms that the reads were valid and not caused by the operation itself: a write can reach
   * both a replaced leader and its successor, and either may answer first.
   *
   * @throws {WrongRevision} A read was not valid
   */
  async confirm(reads: Reads, deadline: number): Promise<void> {
    if (!this.#bucket.isClustered || reads.revisions.size === 0) return;
    const now = await this.#readBehind([...reads.revisions.keys()], deadline);
    for (const [key, revision] of reads.revisions) {
      const entry = now.get(key);
      if (reads.isOwn(entry)) {
        throw new StoreError("unavailable", `Write ${key}: interrupted, the outcome is unknown`);
      }
      if ((isThere(entry) ? entry.revision : 0) !== revision) {
        throw new WrongRevision(`${key} was read from a replaced leader`);
      }
    }
  }

  /**
   * Returns the sequence of a fence written during this call: data at this sequence includes
   * everything acknowledged before the call.
   */
  async sequence(deadline: number): Promise<number> {
    return (await this.#readBehind([], deadline)).get(FENCE_KEY)!.revision;
  }

  /**
   * Reads keys including delete markers. Concurrent calls share a fence and a read, each with its
   * own deadline.
   */
  #readBehind(keys: string[], deadline: number): Promise<Map<string, Entry>> {
    return retry("Confirm a read", deadline, () => {
      let group = this.#waiting;
      if (group === null || group.keys.size + keys.length > BATCH_LIMIT) {
        // Includes the fence itself: without any match, the answer would have no sequence.
        group = { keys: new Set([FENCE_KEY]), found: Promise.resolve(new Map()) };
        this.#waiting = group;
        group.found = this.#run(group);
      }
      for (const key of keys) group.keys.add(key);
      return within(left(deadline), group.found, () => {
        throw new Transient("no majority answered");
      });
    });
  }

  async #run(group: Group): Promise<Map<string, Entry>> {
    await this.#writing?.catch(() => {});
    // Later callers may depend on writes after this fence.
    if (this.#waiting === group) this.#waiting = null;
    const writing = this.#bucket.put(FENCE_KEY, nuid.next(), Date.now() + this.#opTimeout);
    this.#writing = writing;
    let sequence: number;
    try {
      sequence = await writing;
    } finally {
      if (this.#writing === writing) this.#writing = null;
    }
    const deadline = Date.now() + this.#opTimeout;
    return await this.#bucket.getLast([...group.keys], sequence, deadline);
  }
}

function isThere(entry: Entry | null | undefined): entry is Entry {
  return entry !== null && entry !== undefined && entry.data.length > 0;
}

/** Writes a fence, again until it is acknowledged; returns its sequence. */
export function writeFence(bucket: Bucket, deadline: number): Promise<number> {
  return retry("Write a fence", deadline, () => bucket.put(FENCE_KEY, nuid.next(), deadline));
}

/** Fences that are skipped before the end of the stream is asked for. */
const FENCES = 3;

/** Options of {@link isWrittenSince}. */
export interface Since {
  /** Messages after this sequence. */
  sequence: number;
  /** Messages before this one. Default: all. */
  until?: number;
  /** The keys to check. Default: all. `null`: all, and the history. */
  pattern?: string | null;
  /** Keys to ignore. Default: fences, which reads write, and the index of admins. */
  except?: (key: string) => boolean;
}

/**
 * Reports whether there are messages after a sequence. Deletions count while their markers exist,
 * for a day.
 */
export async function isWrittenSince(
  bucket: Bucket,
  { sequence, until = Infinity, pattern = ">", except = isAside }: Since,
  deadline: number,
): Promise<boolean> {
  let end = until;
  for (let from = sequence + 1, skipped = 1;; skipped++) {
    const entry = await bucket.next(pattern, from, deadline);
    if (entry === null || entry.revision >= end) return false;
    if (!except(entry.key)) return true;
    from = entry.revision + 1;
    // Readers may write fences faster than they are skipped here: what comes from now on does not count.
    if (skipped === FENCES && end === Infinity) {
      end = (await streamInfo(bucket, deadline))?.state.last_seq ?? from;
      end++;
    }
  }
}

/** Reports whether an error depends on stored data, and so requires a confirmed read. */
export function isDecision(error: unknown): boolean {
  return error instanceof StoreError &&
    !["unavailable", "closed", "aborted", "corrupt", "unsupported"].includes(error.code);
}
