/**
 * Reads a bucket's history forward: from the archive, and what that does not have yet from the bucket's
 * stream, where entries live for days. So an archive that lags hides nothing.
 *
 * Any replica may answer. It holds the beginning of what the leader holds, so nothing is skipped; what it
 * does not have yet comes with a later read.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { compareRevisions, type Revision } from "../../core/history/revision.ts";
import type { Bucket } from "../log/bucket.ts";
import { retry, Transient } from "../log/wire.ts";
import { HISTORY_PATTERN } from "../records/keys.ts";
import type { Context } from "../transactions/context.ts";
import type { Placed } from "../records/entries.ts";
import { lastArchived, readBatch } from "./messages.ts";

/**
 * Milliseconds without a read after which the archive is read again: entries may have left the bucket's
 * stream.
 */
const LONG_AGO = 24 * 3600_000;

/** Where a {@link Reader} begins. */
export interface Beginning {
  /** The first sequence in the archive. */
  sequence: number;
  /** Only entries after this one. */
  after: Revision | null;
}

/** Reads entries in order, each once. */
export class Reader {
  readonly #bucket: Bucket;
  /** The next sequence in the archive, while that has more; otherwise in the bucket's stream. */
  #from: "archive" | "bucket" = "archive";
  #next: number;
  #last: Revision | null;
  #origin = 0;
  #readAt = Date.now();

  constructor(bucket: Bucket, { sequence, after }: Beginning) {
    this.#bucket = bucket;
    this.#next = sequence;
    this.#last = after;
  }

  /** The last entry returned, or the one to begin after. */
  get last(): Revision | null {
    return this.#last;
  }

  /** The sequence in the bucket's stream up to which everything has been read. */
  get origin(): number {
    return this.#origin;
  }

  /** Whether it was not read from for so long that it must begin again. */
  get isStale(): boolean {
    return this.#from === "bucket" && Date.now() - this.#readAt > LONG_AGO;
  }

  /**
   * Returns the next entries; none if there are none now, or the replica that answered has none.
   *
   * @throws {StoreError} too_old: they were pruned meanwhile
   */
  async read(deadline: number): Promise<Placed[]> {
    for (;;) {
      const from = this.#from;
      const messages = await readBatch(this.#bucket, from, this.#next, { deadline });
      this.#readAt = Date.now();
      if (messages.length === 0) {
        if (from === "bucket" || !await this.#leaveArchive(deadline)) return [];
        continue;
      }
      if (from === "archive") this.#requireNext(messages[0]!.sequence);
      const { sequence, origin } = messages.at(-1)!;
      this.#next = sequence + 1;
      this.#origin = Math.max(this.#origin, origin ?? 0);
      const entries: Placed[] = [];
      for (const { placed } of messages) {
        if (placed !== null && this.#isNew(placed)) entries.push(placed);
      }
      if (entries.length > 0) return entries;
    }
  }

  /** Takes an entry if it comes after all before it: an archive with a new leader may repeat some. */
  #isNew({ at }: Placed): boolean {
    if (this.#last !== null && compareRevisions(at, this.#last) <= 0) return false;
    this.#last = at;
    return true;
  }

  /** Continues in the bucket's stream if the archive has no more. */
  async #leaveArchive(deadline: number): Promise<boolean> {
    const end = await lastArchived(this.#bucket, deadline);
    // Only the replica that answered has no more.
    if (end !== null && end.sequence >= this.#next) return false;
    this.#from = "bucket";
    this.#origin = end?.origin ?? 0;
    this.#next = this.#origin + 1;
    return true;
  }

  #requireNext(found: number): void {
    // Entries are removed from the front only, when they are pruned.
    if (found === this.#next || this.#last === null) return;
    throw new StoreError(
      "too_old",
      `Reading the history of bucket ${this.#bucket.name}: its next entry was pruned meanwhile`,
      { field: "after", hint: "begin again from the oldest entry" },
    );
  }
}

/** Reads until an entry of the bucket's stream was reached. */
export async function* readUntil(
  context: Context,
  reader: Reader,
  newest: number,
): AsyncGenerator<Placed[]> {
  for (;;) {
    const deadline = context.deadline();
    const entries = await retry("Read the history", deadline, async () => {
      const entries = await reader.read(deadline);
      if (entries.length === 0 && reader.origin < newest) {
        throw new Transient(`at sequence ${reader.origin}, not yet ${newest}`);
      }
      return entries;
    });
    if (entries.length === 0) return;
    yield entries;
  }
}

/** Returns the sequence of the newest entry in the bucket's stream, where entries live for some days. */
export async function newestEntry(context: Context): Promise<number> {
  const entry = await context.bucket.get(HISTORY_PATTERN, context.deadline());
  return Math.max(entry?.revision ?? 0, context.newestEntry);
}

/** Returns the later of two revisions. */
export function later(a: Revision | null, b: Revision | null): Revision | null {
  if (a === null || b === null) return a ?? b;
  return compareRevisions(a, b) < 0 ? b : a;
}
