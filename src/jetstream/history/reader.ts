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
import { compareRevisions, formatRevision, type Revision } from "../../core/history/revision.ts";
import type { Bucket } from "../log/bucket.ts";
import { retry, Transient } from "../log/wire.ts";
import { HISTORY_PATTERN } from "../records/keys.ts";
import type { Context } from "../transactions/context.ts";
import { decodeEntry, type Placed } from "../records/entries.ts";
import { entryOf, lastArchived, type Message, misplaced, readBatch } from "./messages.ts";
import { Repeats } from "./repeats.ts";
import { searchRevision } from "./search.ts";

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
  /** What was read lately, and before which everything counts as read. */
  readonly #recent = new Repeats();
  #floor: Revision | null;
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
    this.#floor = after;
  }

  /** Begins after an entry; `null` for the oldest that is kept. */
  static async after(bucket: Bucket, after: Revision | null, deadline: number): Promise<Reader> {
    return new Reader(bucket, { sequence: await searchRevision(bucket, after, deadline), after });
  }

  /** The last entry returned, or the one to begin after. */
  get last(): Revision | null {
    return this.#last;
  }

  /** The sequence in the bucket's stream up to which everything has been read. */
  get origin(): number {
    return this.#origin;
  }

  /** Whether the archive had more at the last read, or was not read. */
  get isInArchive(): boolean {
    return this.#from === "archive";
  }

  /** Whether it was not read from for so long that it must begin again. */
  get isStale(): boolean {
    return this.#from === "bucket" && Date.now() - this.#readAt > LONG_AGO;
  }

  /**
   * Returns the next entries; none if there are none now, or the replica that answered has none.
   *
   * @param upTo `archive`: what only the bucket's stream has is not read
   * @throws {StoreError} too_old: they were pruned meanwhile; corrupt: an entry cannot be read, or is not in
   * its place, so what is there is not known
   */
  async read(deadline: number, upTo: "archive" | "bucket" = "bucket"): Promise<Placed[]> {
    for (;;) {
      const from = this.#from;
      const messages = await readBatch(this.#bucket, from, this.#next, { deadline });
      this.#readAt = Date.now();
      if (messages.length === 0) {
        if (from === upTo || !await this.#leaveArchive(deadline)) return [];
        continue;
      }
      if (from === "archive") this.#requireNext(messages[0]!.sequence);
      const { sequence, origin } = messages.at(-1)!;
      this.#next = sequence + 1;
      this.#origin = Math.max(this.#origin, origin ?? 0);
      const entries: Placed[] = [];
      for (const message of messages) {
        try {
          const placed = entryOf(message);
          if (placed !== null && this.#isNew(placed, message)) entries.push(placed);
        } catch (error) {
          if (entries.length === 0) throw error;
          // What comes before it is read first.
          this.#next = message.sequence;
          break;
        }
      }
      if (entries.length > 0) return entries;
    }
  }

  /** Takes an entry if it comes after all before it: an archive with a new leader may repeat some. */
  #isNew({ at, entry: { revision } }: Placed, { sequence }: Message): boolean {
    const last = this.#last;
    if (last === null || compareRevisions(at, last) > 0) {
      this.#last = at;
      this.#recent.add(revision);
      return true;
    }
    const isOld = this.#floor !== null && compareRevisions(at, this.#floor) <= 0;
    if (isOld || this.#recent.has(revision)) return false;
    throw misplaced(this.#bucket, { revision, sequence, other: formatRevision(last) });
  }

  /** Returns whether all that the archive has now was read. */
  async isAtEnd(deadline: number): Promise<boolean> {
    const end = await this.#endOfArchive(deadline);
    if (end === undefined) return false;
    this.#origin = Math.max(this.#origin, end?.origin ?? 0);
    return true;
  }

  /** Returns the archive's last message, which was read; `undefined` if it was not. */
  async #endOfArchive(deadline: number): Promise<Message | null | undefined> {
    const end = await lastArchived(this.#bucket, deadline);
    if (end !== null && end.sequence < this.#next - 1) {
      // It was created again, with other sequences.
      this.#next = await searchRevision(this.#bucket, this.#last, deadline);
    }
    // Where it has more, only the replica that answered does not.
    return end !== null && end.sequence >= this.#next ? undefined : end;
  }

  /** Continues in the bucket's stream if the archive has no more; returns whether to read again now. */
  async #leaveArchive(deadline: number): Promise<boolean> {
    const next = this.#next;
    const end = await this.#endOfArchive(deadline);
    if (end === undefined) return this.#next !== next;
    if (end !== null && end.origin === null) await this.#requireOver(end, deadline);
    this.#from = "bucket";
    // Without an origin, what the archive has is read here again.
    this.#floor = this.#last;
    this.#origin = end?.origin ?? 0;
    this.#next = this.#origin + 1;
    return true;
  }

  /** The last entry of the archive came by no transaction: those of the bucket must not be hidden by it. */
  async #requireOver({ placed, sequence }: Message, deadline: number): Promise<void> {
    const bucket = this.#bucket;
    const found = await bucket.get(HISTORY_PATTERN, deadline);
    const newest = found && decodeEntry(found.data, found.revision);
    if (placed === null || !newest || compareRevisions(newest.at, placed.at) > 0) return;
    if (newest.at.generation < placed.at.generation) return;
    const { revision } = newest.entry;
    const at = await searchRevision(bucket, previous(newest.at), deadline);
    const [there] = await readBatch(bucket, "archive", at, { count: 1, deadline });
    if (there?.placed?.entry.revision === revision) return;
    throw misplaced(bucket, { revision, sequence, other: placed.entry.revision });
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

/** Reads all that the archive has, and until an entry of the bucket's stream was reached. */
export async function* readUntil(
  context: Context,
  reader: Reader,
  newest: number,
): AsyncGenerator<Placed[]> {
  for (;;) {
    const deadline = context.deadline();
    const entries = await retry("Read the history", deadline, async () => {
      const entries = await reader.read(deadline);
      if (entries.length > 0) return entries;
      // What a move brought has no sequence in the bucket's stream.
      if (reader.isInArchive) throw new Transient("the replica has not all of the archive yet");
      if (reader.origin >= newest) return entries;
      throw new Transient(`at sequence ${reader.origin}, not yet ${newest}`);
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

function previous({ generation, number }: Revision): Revision {
  return { generation, number: number - 1 };
}

/** Returns the later of two revisions. */
export function later(a: Revision | null, b: Revision | null): Revision | null {
  if (a === null || b === null) return a ?? b;
  return compareRevisions(a, b) < 0 ? b : a;
}
