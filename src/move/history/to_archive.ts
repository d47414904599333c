/**
 * Copies the history of a file into the archive of a bucket.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { did, type HistoryEntry } from "../../core/history/entry.ts";
import {
  compareRevisions,
  formatRevision,
  parseRevision,
  type Revision,
} from "../../core/history/revision.ts";
import type { ChainEnd } from "../../core/history/source.ts";
import { headAfter } from "../../core/history/chain.ts";
import {
  archiveInfo,
  archiveOf,
  ensureArchive,
  purgeArchive,
} from "../../jetstream/history/archive.ts";
import { encodeCut } from "../../jetstream/history/cut.ts";
import { decodeEntry, encodeEntry } from "../../jetstream/records/entries.ts";
import { lastArchived } from "../../jetstream/history/messages.ts";
import { ArchiveWriter, foreignEntries } from "../../jetstream/history/writer.ts";
import { BATCH_LIMIT, type Bucket } from "../../jetstream/log/bucket.ts";
import { purgeStream, wait, WrongRevision } from "../../jetstream/log/wire.ts";
import { guardOf, takenOver } from "../../jetstream/log/marker.ts";
import { streamInfo } from "../../jetstream/log/stream.ts";
import { CUT_KEY, HISTORY_PATTERN } from "../../jetstream/records/keys.ts";
import type { End, HistoryTable } from "../../sqlite/history/table.ts";
import { reader, refuseAborted, soon } from "../steps.ts";

/** Entries that are sent at once. */
const BATCH = BATCH_LIMIT;
/** Most entries that the switch of a live move copies. */
const LAST = 2000;
/** How long the archive may take to receive what is in the bucket's stream, milliseconds. */
const RECEIVE = 30_000;
/** How long a batch is tried without progress, milliseconds. */
const PATIENCE = 30_000;
/** Pauses between two looks, milliseconds. */
const LOOK = 20;

/** How a copy begins. */
export interface BeginOptions {
  /** The revision of the mark of this move. */
  mark: number;
  /** Whether the bucket has been written by this move before, or by an earlier one of the same control plane. */
  isOurs: boolean;
  /** Whether an archive with other entries is emptied. */
  replace: boolean;
  /** Aborts it. */
  signal?: AbortSignal | undefined;
}

/** The copy of one file's history. */
export class ArchiveCopy {
  readonly #bucket: Bucket;
  readonly #file: HistoryTable;
  readonly #signal: AbortSignal | undefined;
  readonly #writer: ArchiveWriter;
  /** Whether the archive has all of the file, and the entry of the move that brought it. */
  #isWhole = false;

  private constructor(
    bucket: Bucket,
    file: HistoryTable,
    writer: ArchiveWriter,
    signal: AbortSignal | undefined,
  ) {
    this.#bucket = bucket;
    this.#file = file;
    this.#writer = writer;
    this.#signal = signal;
  }

  /** Number of entries written. */
  get written(): number {
    return this.#writer.written;
  }

  /**
   * Finds out what the archive has of the file's history; makes the archive if there is none. The bucket is
   * marked: no store writes to it.
   *
   * @throws {StoreError} `refused`: the archive has entries that the file does not have
   */
  static async begin(
    bucket: Bucket,
    file: HistoryTable,
    options: BeginOptions,
  ): Promise<ArchiveCopy> {
    const { signal } = options;
    const beginAfter = async (last: Revision | null) => {
      const writer = await ArchiveWriter.begin(bucket, last, () => refuseAborted(signal));
      return new ArchiveCopy(bucket, file, writer, signal);
    };
    const { num_replicas: replicas } = (await streamInfo(bucket, soon()))!.config;
    await ensureArchive(bucket, { replicas, resize: false, deadline: soon() });
    await received(bucket, signal);
    const { fit, last } = await fitOf(bucket, file, signal);
    if (fit === "whole" && options.isOurs) {
      const it = await beginAfter(last);
      it.#isWhole = true;
      return it;
    }
    if (fit !== "prefix") {
      const canRenew = options.replace || fit === "pruned" && options.isOurs;
      if (!canRenew) throw foreignEntries(bucket);
      await empty(bucket);
    }
    await writeCut(bucket, file.start(), options.mark);
    return await beginAfter((fit === "prefix" ? last : null) ?? file.start().revision);
  }

  /** Reports whether the archive has all of a file's history, and that of the move; writes nothing. */
  static async isWhole(
    bucket: Bucket,
    file: HistoryTable,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (await archiveInfo(bucket, soon()) === null) return false;
    await received(bucket, signal);
    return (await fitOf(bucket, file, signal)).fit === "whole";
  }

  /** Number of entries that are left to be copied. */
  get left(): number {
    return this.#isWhole ? 0 : this.#file.count(this.#writer.last);
  }

  /** Copies the next entries; returns how many. */
  async round(deadline: number = Date.now() + PATIENCE): Promise<number> {
    if (this.#isWhole) return 0;
    const entries = this.#file.after(this.#writer.last, BATCH).map(({ entry }) => entry);
    if (entries.length > 0) await this.#writer.write(entries, deadline);
    return entries.length;
  }

  /** Copies all entries that the file has now; calls `onProgress` with how many were written. */
  async all(onProgress: (written: number) => void = () => {}): Promise<void> {
    do {
      refuseAborted(this.#signal);
      onProgress(this.written);
    } while (await this.round() === BATCH);
  }

  /**
   * Copies the last entries of a frozen file.
   *
   * @throws {StoreError} `unavailable`: they are too many for a pause
   */
  async last(deadline: number): Promise<void> {
    const { written } = this;
    while (await this.round(deadline) === BATCH) {
      if (this.written - written < LAST) continue;
      throw new StoreError("unavailable", `Switching: more than ${LAST} entries are left to copy`);
    }
  }

  /**
   * Compares the archive with the file up to the last entry that was copied.
   *
   * @throws {StoreError} `mismatch`
   */
  async verify(): Promise<ChainEnd> {
    if (this.#isWhole) return endOf(this.#file.end());
    const at = this.#writer.last;
    const last = at && formatRevision(at);
    const wanted = at === null ? this.#file.start().head : this.#file.headAt(at);
    let found: ChainEnd | null = null;
    for await (const end of chainOf(this.#bucket, this.#signal)) {
      if (end.revision === last) found = end;
    }
    if (found !== null && found.head === wanted) return found;
    if (last === null) return { revision: null, head: wanted! };
    throw new StoreError(
      "mismatch",
      `The history in ${archiveOf(this.#bucket.name).stream} is not that of the file at ${last}`,
    );
  }

  /** The entry for the end of the move; `undefined` if an earlier run has written it. */
  entry(by: string, generation: number): string | undefined {
    if (this.#isWhole) return undefined;
    const author = { by, at: new Date().toISOString(), wrote: () => {} };
    return encodeEntry(did.moved("file", `bucket ${this.#bucket.name}`), author, generation);
  }
}

/** Waits until the archive has everything that is in the bucket's stream. */
async function received(bucket: Bucket, signal: AbortSignal | undefined): Promise<void> {
  for (const deadline = Date.now() + RECEIVE;;) {
    const newest = await bucket.get(HISTORY_PATTERN, soon());
    if (newest === null) return;
    const last = await lastArchived(bucket, soon());
    if (last !== null && (last.origin ?? 0) >= newest.revision) return;
    const placed = decodeEntry(newest.data, newest.revision);
    // Behind what an earlier move brought.
    if (placed === null && last !== null && last.origin === null) return;
    if (placed !== null && last?.placed && compareRevisions(last.placed.at, placed.at) >= 0) return;
    refuseAborted(signal);
    if (Date.now() > deadline) {
      throw new StoreError(
        "unavailable",
        `Copying the history: ${archiveOf(bucket.name).stream} does not receive what is in ` +
          `${bucket.stream}`,
      );
    }
    await wait(LOOK);
  }
}

/** Iterates over the ends of the chain after each entry of the archive. */
async function* chainOf(
  bucket: Bucket,
  signal: AbortSignal | undefined,
): AsyncGenerator<ChainEnd & { action: HistoryEntry["action"] }> {
  const history = reader(bucket).history!;
  let { head } = await history.start();
  for await (const { entry } of history.walk(null, signal)) {
    head = headAfter(head, entry);
    yield { revision: entry.revision, head, action: entry.action };
  }
  refuseAborted(signal);
}

/**
 * How the archive fits to the file: it is a part of it from its beginning, it has all of it and only moves
 * behind it, the file was pruned behind its end, or it is another one.
 */
async function fitOf(
  bucket: Bucket,
  file: HistoryTable,
  signal: AbortSignal | undefined,
): Promise<{ fit: "prefix" | "whole" | "pruned" | "other"; last: Revision | null }> {
  const { revision: end, head } = file.end();
  const cut = file.start().revision;
  let last: ChainEnd | null = null;
  // Nothing is in a file without a history.
  let isBehind = end === null;
  for await (const it of chainOf(bucket, signal)) {
    if (isBehind && it.action !== "store.moved") return { fit: "other", last: null };
    last = it;
    if (end !== null && it.revision === formatRevision(end)) {
      if (it.head !== head) return { fit: "other", last: null };
      isBehind = true;
    }
  }
  if (last === null) return { fit: "prefix", last: null };
  const at = parseRevision("revision", last.revision);
  if (isBehind && (end === null || compareRevisions(at, end) > 0)) {
    return { fit: "whole", last: at };
  }
  if (file.headAt(at) === last.head) return { fit: "prefix", last: at };
  return { fit: cut !== null && compareRevisions(at, cut) < 0 ? "pruned" : "other", last: at };
}

/** Removes all entries, also those that the archive would receive again. */
async function empty(bucket: Bucket): Promise<void> {
  const { last_seq = 0 } = (await archiveInfo(bucket, soon()))?.state ?? {};
  const filter = bucket.subject(HISTORY_PATTERN);
  await purgeStream(bucket.nc, bucket.stream, { filter }, soon());
  await purgeArchive(bucket, last_seq + 1, soon());
}

/** Writes where the history was cut, if it is not known in the bucket. */
async function writeCut(bucket: Bucket, at: End, mark: number): Promise<void> {
  const end = endOf(at);
  const start = await reader(bucket).history!.start();
  if (start.revision === end.revision && start.head === end.head) return;
  const value = end.revision === null ? null : encodeCut(end);
  const write = { key: CUT_KEY, value, ...guardOf(mark) };
  try {
    await bucket.commit([write], soon(), { alone: true });
  } catch (error) {
    throw error instanceof WrongRevision ? takenOver(error) : error;
  }
}

/** Returns the end of a chain as reports have it. */
export function endOf({ revision, head }: End): ChainEnd {
  return { revision: revision && formatRevision(revision), head };
}
