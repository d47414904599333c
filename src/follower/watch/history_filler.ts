/**
 * Fills the history of a follower's file: from the archive of the bucket, and when that has been read to
 * its end, with the entries that the file took from the bucket's stream together with their changes.
 *
 * Entries are not replaced and live for days, so from there on the stream brings each of them. Only the
 * archive has what precedes the first entry of a generation: a move writes that there directly.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { isDeepStrictEqual } from "node:util";
import { StoreError } from "../../core/errors.ts";
import { FIRST_HEAD, headAfter } from "../../core/history/chain.ts";
import type { HistoryEntry } from "../../core/history/entry.ts";
import {
  compareRevisions,
  formatRevision,
  parseRevision,
  type Revision,
  revisionOfEnd,
} from "../../core/history/revision.ts";
import type { ChainEnd } from "../../core/history/source.ts";
import { archiveInfo } from "../../jetstream/history/archive.ts";
import { decodeCut } from "../../jetstream/history/cut.ts";
import { decodeEntry } from "../../jetstream/records/entries.ts";
import { Reader } from "../../jetstream/history/reader.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { wait } from "../../jetstream/log/wire.ts";
import { CUT_KEY } from "../../jetstream/records/keys.ts";
import { rowOf, storedOf } from "../../sqlite/history/table.ts";
import type { Row } from "../../sqlite/rows.ts";
import { toStoreError } from "../../sqlite/file/errors.ts";
import type { HistoryState, KeptEnd, MoreHistory } from "../history/table.ts";
import type { Thread } from "../file/thread.ts";

/** How long one read may take, milliseconds. */
const PATIENCE = 10_000;
/** Pause before a file that is being written is asked again, milliseconds. */
const BUSY = 20;
/** Pause before the archive is read again for an entry that it is about to receive. */
const LOOK = 50;
/** Pauses after a failure, milliseconds. */
const RETRY = { first: 250, longest: 10_000 };

/** What is filled, and from where. */
export interface FillerOptions {
  /** The bucket. */
  bucket: Bucket;
  /** The file; this process applies to it. */
  thread: Thread;
  /** Whether a history that is not the bucket's is discarded. */
  accept: boolean;
}

/** Fills until it is stopped. */
export class HistoryFiller {
  readonly #options: FillerOptions;
  readonly #ending = new AbortController();
  #wake: () => void = () => {};
  #heard = true;
  /** The end of what is in the file. */
  #end: ChainEnd = { revision: null, head: FIRST_HEAD };
  /** The sequence of the bucket's stream up to which all entries are in the file. */
  #origin = 0;
  #newStart: MoreHistory["restart"] = null;
  #state: HistoryState | null = null;
  #failure: StoreError | null = null;

  constructor(options: FillerOptions) {
    this.#options = options;
    void this.#run();
  }

  /** What is in the file, with why it does not continue; `null` before that is known. */
  get state(): HistoryState | null {
    const gap = this.#failure?.message ?? this.#state?.gap ?? null;
    return this.#state && { ...this.#state, gap };
  }

  /** The file has taken messages. */
  heard(): void {
    this.#heard = true;
    this.#wake();
  }

  /** Ends: nothing more is written. What the bucket was asked for may still be answered. */
  stop(): void {
    this.#ending.abort();
    this.heard();
  }

  async #run(): Promise<void> {
    const { bucket, thread } = this.#options;
    const { signal } = this.#ending;
    for (let pause = RETRY.first; !signal.aborted;) {
      try {
        await this.#readArchive();
        this.#failure = null;
        pause = RETRY.first;
        await this.#followTail();
      } catch (error) {
        if (signal.aborted) return;
        // Read again where it comes from; what the file has counts.
        this.#state ??= await thread.ask("history", undefined).catch(() => null);
        this.#failure = toStoreError(error, `Reading the history of bucket ${bucket.name}`);
        await wait(pause, signal).catch(() => {});
        pause = Math.min(2 * pause, RETRY.longest);
      }
    }
  }

  /** Reads what the archive has after the last entry of the file. */
  async #readArchive(): Promise<void> {
    const { bucket } = this.#options;
    const { signal } = this.#ending;
    // It is made by the first store that keeps a history.
    while (await archiveInfo(bucket, soon()) === null) await wait(RETRY.longest, signal);
    const reader = await this.#begin();
    for (;;) {
      // No further: a move may be filling it, with entries that come before those of the bucket.
      const entries = await reader.read(soon(), "archive");
      signal.throwIfAborted();
      if (entries.length > 0) await this.#add(entries.map(({ entry }) => entry), reader.origin);
      else if (await reader.isAtEnd(soon())) break;
      // The replica that answered does not have all.
      else await wait(BUSY, signal);
    }
    this.#origin = Math.max(this.#origin, reader.origin);
    await this.#add([], this.#origin);
  }

  /** Begins to read after the last entry of the file, which must be the bucket's as well. */
  async #begin(): Promise<Reader> {
    const { bucket, thread } = this.#options;
    const { cut: from, rows: [row, previous] } = await thread.ask("historyEnd", undefined);
    const cut = decodeCut(await bucket.get(CUT_KEY, soon()));
    const cutAt = revisionOfEnd(cut);
    this.#newStart = null;
    this.#origin = 0;
    this.#end = endOf(row, from);
    const last = revisionOfEnd(this.#end);
    if (last === null) return await this.#restart(cut, null);
    if (cutAt !== null && compareRevisions(last, cutAt) < 0) {
      const gap = `the entries after ${this.#end.revision} up to ${cut.revision} were pruned ` +
        "before the follower had them";
      return await this.#restart(cut, gap);
    }
    if (cutAt !== null && compareRevisions(last, cutAt) === 0) {
      if (this.#end.head === cut.head) return await this.#readerAfter(last);
    } else if (row !== undefined) {
      const before = revisionOfEnd(endOf(previous, from));
      const after = cutAt !== null && (before === null || compareRevisions(before, cutAt) < 0)
        ? cutAt
        : before;
      if (await this.#isNextAfter(after, row)) return await this.#readerAfter(last);
    }
    if (this.#options.accept) return await this.#restart(cut, null);
    throw new StoreError(
      "mismatch",
      `The history of bucket ${bucket.name} is not that of its follower at ${this.#end.revision}`,
      { hint: "run membershipd repair --accept to rename the file and to copy the bucket again" },
    );
  }

  /** Whether the bucket's first entry after another is that of a row. */
  async #isNextAfter(after: Revision | null, row: Row): Promise<boolean> {
    const reader = await this.#readerAfter(after);
    const [next] = await reader.read(soon());
    return next !== undefined && isDeepStrictEqual(next.entry, storedOf(row).entry);
  }

  async #restart(cut: ChainEnd, gap: string | null): Promise<Reader> {
    this.#newStart = { cut: keptOf(cut), gap };
    this.#end = cut;
    return await this.#readerAfter(revisionOfEnd(cut));
  }

  #readerAfter(after: Revision | null): Promise<Reader> {
    return Reader.after(this.#options.bucket, after, soon());
  }

  /** Takes what the file has of the bucket's stream, as it comes. */
  async #followTail(): Promise<void> {
    const { thread } = this.#options;
    const { signal } = this.#ending;
    while (!signal.aborted) {
      this.#heard = false;
      const tail = await thread.ask("tail", this.#origin);
      if (tail === null) await wait(BUSY, signal);
      else if (tail.length > 0) {
        const end = revisionOfEnd(this.#end);
        const entries: HistoryEntry[] = [];
        for (const { number, value } of tail) {
          const placed = decodeEntry(value, number);
          // A repair brings entries that the bucket still has.
          if (placed === null || end !== null && compareRevisions(placed.at, end) <= 0) continue;
          // A move may have brought entries that come before it; with them the archive has it.
          if (placed.at.generation !== end?.generation) {
            await this.#add(entries, number - 1);
            return await wait(LOOK, signal);
          }
          entries.push(placed.entry);
        }
        await this.#add(entries, tail.at(-1)!.number);
      } else if (!this.#heard) await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Adds entries to the file, with their heads. */
  async #add(entries: HistoryEntry[], origin: number): Promise<void> {
    const { thread } = this.#options;
    const { signal } = this.#ending;
    signal.throwIfAborted();
    let { revision, head } = this.#end;
    let pruned: MoreHistory["pruned"] = null;
    const rows = entries.map((entry) => {
      if (entry.action === "history.pruned") {
        const { upTo, head: cut } = entry.after!;
        pruned = { ...parseRevision("upTo", upTo), head: Buffer.from(String(cut), "hex") };
        // All entries were removed, also unreadable ones: a new chain begins.
        if (upTo === revision) head = String(cut);
      }
      ({ revision } = entry);
      head = headAfter(head, entry);
      return [...rowOf(entry), Buffer.from(head, "hex")];
    });
    const more = { restart: this.#newStart, rows, pruned, origin };
    let state: HistoryState | null;
    while ((state = await thread.ask("addHistory", more)) === null) {
      await wait(BUSY, signal);
    }
    this.#newStart = null;
    this.#end = { revision, head };
    this.#origin = Math.max(this.#origin, origin);
    this.#state = state;
  }
}

function soon(): number {
  return Date.now() + PATIENCE;
}

/** Returns the end after a row; without one the cut. */
function endOf(row: Row | undefined, cut: KeptEnd | null): ChainEnd {
  if (row !== undefined) {
    return { revision: formatRevision(numbersOf(row)), head: hexOf(row.at(-1) as Uint8Array) };
  }
  if (cut === null) return { revision: null, head: FIRST_HEAD };
  return { revision: formatRevision(cut), head: hexOf(cut.head) };
}

function keptOf(end: ChainEnd): KeptEnd | null {
  const revision = revisionOfEnd(end);
  return revision && { ...revision, head: Buffer.from(end.head, "hex") };
}

function numbersOf([generation, number]: Row): Revision {
  return { generation: Number(generation), number: Number(number) };
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
