/**
 * Whether what was read at the leader was so.
 *
 * A leader that is cut off from the others goes on answering reads for some seconds, while another one
 * is elected and takes writes. A write that is made shows by itself that its leader still led. An
 * answer without one does not: a record as it is read, "is revoked already", "there is no such invite".
 * So a fence is written, which needs a majority, and what the answer rests on is read as of the fence
 * or later. A refusal has read it before: when it is still the same, it was so at a moment of the call.
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { within } from "../../core/async/wait.ts";
import { BATCH_LIMIT, type Bucket, type Entry } from "./bucket.ts";
import { FENCE_KEY, isAside } from "../records/keys.ts";
import { left, retry, Transient, WrongRevision } from "./wire.ts";

/** What one try of a transaction has read. */
export class Reads {
  readonly #bucket: Bucket;
  readonly #revisions = new Map<string, number>();
  readonly #lost: Set<string>;

  /** @param lost Ids of earlier tries of the operation, which were told that they had lost */
  constructor(bucket: Bucket, lost: Set<string> = new Set()) {
    this.#bucket = bucket;
    this.#lost = lost;
  }

  /** A try was told that it lost. */
  noteLost({ txn }: WrongRevision): void {
    if (txn !== undefined) this.#lost.add(txn);
  }

  /** Whether what is there was written by a try that was told that it lost. */
  isOwn(entry: Entry | undefined): boolean {
    return entry?.txn !== undefined && this.#lost.has(entry.txn);
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

/** Those who read behind one fence, and what they find. */
interface Group {
  keys: Set<string>;
  found: Promise<Map<string, Entry>>;
}

/** Confirms reads on one bucket. */
export class Fence {
  readonly #bucket: Bucket;
  readonly #opTimeout: number;
  /** The fence being written. */
  #writing: Promise<unknown> | null = null;
  /** Who will share the next. */
  #waiting: Group | null = null;

  /** @param opTimeout The longest that any caller waits, milliseconds */
  constructor(bucket: Bucket, opTimeout: number) {
    this.#bucket = bucket;
    this.#opTimeout = opTimeout;
    void this.#bucket.isClustered;
  }

  /** Reads what is there of some keys, as of one moment of this call. */
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
   * Makes sure that what was read was so, and not of the operation's own making: a write reaches a
   * leader that was replaced and the one that replaced it, and either may answer first.
   *
   * @throws {WrongRevision} When it was not
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
        throw new WrongRevision(`${key} was read from a leader that had been replaced`);
      }
    }
  }

  /** The sequence of a fence written during this call: who has seen that has seen all that was acknowledged before. */
  async sequence(deadline: number): Promise<number> {
    return (await this.#readBehind([], deadline)).get(FENCE_KEY)!.revision;
  }

  /** With delete markers. Many share one fence and one read; each waits no longer than it may itself. */
  #readBehind(keys: string[], deadline: number): Promise<Map<string, Entry>> {
    return retry("Confirm a read", deadline, () => {
      let group = this.#waiting;
      if (group === null || group.keys.size + keys.length > BATCH_LIMIT) {
        // The fence itself is asked for too: with nothing found no sequence would be told.
        group = { keys: new Set([FENCE_KEY]), found: Promise.resolve(new Map()) };
        this.#waiting = group;
        group.found = this.#run(group);
      }
      for (const it of keys) group.keys.add(it);
      return within(left(deadline), group.found, () => {
        throw new Transient("no word of a majority");
      });
    });
  }

  async #run(group: Group): Promise<Map<string, Entry>> {
    await this.#writing?.catch(() => {});
    // Who comes from now on may know of writes that this fence is not behind of.
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

/** What {@link isWrittenSince} looks at. */
export interface Since {
  /** Messages behind this sequence. */
  sequence: number;
  /** Messages before this one. Default: all. */
  until?: number;
  /** Of these keys. Default: all. */
  pattern?: string;
  /** But not of these keys. Default: fences, which reads leave, and the index of admins. */
  except?: (key: string) => boolean;
}

/** Whether anything stands behind a sequence. Deletions count while their markers are there, which is a day. */
export async function isWrittenSince(
  bucket: Bucket,
  { sequence, until = Infinity, pattern = ">", except = isAside }: Since,
  deadline: number,
): Promise<boolean> {
  for (let from = sequence + 1;;) {
    const entry = await bucket.next(pattern, from, deadline);
    if (entry === null || entry.revision >= until) return false;
    if (!except(entry.key)) return true;
    from = entry.revision + 1;
  }
}

/** What an answer is that only a confirmed read may give; the rest says nothing of what is stored. */
export function isDecision(error: unknown): boolean {
  return error instanceof StoreError &&
    !["unavailable", "closed", "aborted", "corrupt", "unsupported"].includes(error.code);
}
