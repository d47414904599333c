/**
 * The history of a bucket, as the store reads it.
 *
 * @module
 */

import { orAbort } from "../../core/async/wait.ts";
import { headAfter } from "../../core/history/chain.ts";
import type { Author, HistoryEntry } from "../../core/history/entry.ts";
import { type Revision, revisionOfEnd } from "../../core/history/revision.ts";
import {
  type ChainEnd,
  type HistoryProblem,
  type HistoryRange,
  type HistorySource,
  type PruneRange,
  requireKept,
  type SignedHead,
  type StoredEntry,
} from "../../core/history/source.ts";
import { StoreError } from "../../core/errors.ts";
import type { Bucket } from "../log/bucket.ts";
import { subscribe, Transient } from "../log/wire.ts";
import {
  CUT_KEY,
  headKey,
  HISTORY_PATTERN,
  isHead,
  META_PATTERN,
  nodeOfHead,
} from "../records/keys.ts";
import { parseValue, VALUE_VERSION } from "../records/values.ts";
import type { Context } from "../transactions/context.ts";
import { type Cut, decodeCut } from "./cut.ts";
import type { Placed } from "../records/entries.ts";
import { auditArchive } from "./audit.ts";
import { newestPage, oldestPage } from "./pages.ts";
import { prune, pruneAll } from "./prune.ts";
import { later, newestEntry, Reader, readUntil } from "./reader.ts";

/** Pauses of a follower that has nothing to read, milliseconds: after an entry was sent, and at last. */
const PAUSE = { first: 2, longest: 1000 };

/** Reads and prunes the history of a bucket. */
export class BucketHistory implements HistorySource {
  readonly #context: Context;
  readonly #closing = new AbortController();
  /** How far {@link head} has come, for the next call. */
  #folded: { reader: Reader; end: ChainEnd } | null = null;
  #folding: Promise<unknown> = Promise.resolve();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Ends all that follow. */
  close(): void {
    this.#closing.abort();
  }

  /** Returns the sequence in the bucket's stream of the newest entry. */
  newest(): Promise<number> {
    return newestEntry(this.#context);
  }

  async page(range: HistoryRange): Promise<HistoryEntry[]> {
    const start = revisionOfEnd(await this.start());
    if (!range.newest) requireKept(range.after, start);
    const given = { ...range, after: later(range.after, start) };
    const newest = await newestEntry(this.#context);
    return range.newest
      ? await newestPage(this.#context, given, newest)
      : await oldestPage(this.#context, given, newest);
  }

  async *follow(after: Revision | null, signal: AbortSignal): AsyncGenerator<HistoryEntry[]> {
    const { bucket } = this.#context;
    const either = AbortSignal.any([signal, this.#closing.signal]);
    using wake = new Wake(bucket);
    let reader: Reader | null = null;
    for (let pause = PAUSE.first; !either.aborted;) {
      let entries: Placed[] = [];
      try {
        if (reader === null || reader.isStale) reader = await this.#begin(reader?.last ?? after);
        entries = await reader.read(this.#context.deadline());
      } catch (error) {
        if (either.aborted) break;
        if (!this.#isPassing(error)) throw error;
        pause = PAUSE.longest;
      }
      if (entries.length > 0) {
        pause = PAUSE.first;
        yield entries.map(({ entry }) => entry);
      } else if (await wake.wait(pause, either)) pause = PAUSE.first;
      else pause = Math.min(2 * pause, PAUSE.longest);
    }
    if (!signal.aborted) throw new StoreError("closed", "The store is closed");
  }

  /** Whether a failure ends by itself: no leader, or no connection. */
  #isPassing(error: unknown): boolean {
    if (error instanceof Transient) return true;
    return error instanceof StoreError && error.code === "unavailable" &&
      this.#context.bucket.loss === null;
  }

  head(): Promise<ChainEnd> {
    const next = this.#folding.catch(() => {}).then(() => this.#fold());
    this.#folding = next;
    return next;
  }

  async #fold(): Promise<ChainEnd> {
    const start = await this.start();
    const { bucket } = this.#context;
    const known = this.#folded?.end.revision;
    const isKept = known !== undefined && known !== null && !this.#folded!.reader.isStale;
    let end = isKept ? this.#folded!.end : start;
    const reader = isKept ? this.#folded!.reader : await this.#begin(revisionOfEnd(start));
    this.#folded = null;
    for await (
      const entries of readUntil(this.#context, reader, await newestEntry(this.#context))
    ) {
      for (const { entry } of entries) {
        end = { revision: entry.revision, head: headAfter(end.head, entry) };
      }
    }
    bucket.refuseLost();
    this.#folded = { reader, end };
    return end;
  }

  async start(): Promise<Cut> {
    return decodeCut(await this.#context.bucket.get(CUT_KEY, this.#context.deadline()));
  }

  async *walk(after: Revision | null, signal?: AbortSignal): AsyncGenerator<StoredEntry> {
    const reader = await this.#begin(after);
    for await (
      const entries of readUntil(this.#context, reader, await newestEntry(this.#context))
    ) {
      if (signal?.aborted) return;
      for (const { entry } of entries) yield { entry, head: null };
    }
  }

  async prune(which: PruneRange, author: Author): Promise<number> {
    return which.all
      ? await pruneAll(this.#context, await this.heads(), author)
      : await prune(this.#context, which, author);
  }

  async heads(): Promise<SignedHead[]> {
    const { bucket, floor } = this.#context;
    const found = await bucket.getMany([META_PATTERN], floor, this.#context.deadline());
    return [...found.values()].filter(({ key }) => isHead(key)).map(({ key, data }) => {
      const { revision, head, at, key: by, signature } = parseValue(key, data);
      return { node: nodeOfHead(key), revision, head, at, key: by, signature };
    }).sort((a, b) => a.node < b.node ? -1 : 1);
  }

  async sign({ node, ...head }: SignedHead): Promise<void> {
    const value = JSON.stringify({ v: VALUE_VERSION, ...head });
    await this.#context.commit([{ key: headKey(node), value }], this.#context.deadline());
  }

  async *check(signal?: AbortSignal): AsyncGenerator<HistoryProblem> {
    yield* auditArchive(this.#context, await this.start(), signal);
  }

  /** Begins to read after an entry, or with the oldest. */
  async #begin(after: Revision | null): Promise<Reader> {
    const start = revisionOfEnd(await this.start());
    requireKept(after, start);
    const { bucket } = this.#context;
    return await Reader.after(bucket, later(after, start), this.#context.deadline());
  }
}

/** Listens to what is sent to the bucket's stream; that is a hint, and stored a moment later. */
class Wake implements Disposable {
  readonly #sub: ReturnType<typeof subscribe>;
  #heard = false;
  #wake: () => void = () => {};

  constructor(bucket: Bucket) {
    this.#sub = subscribe(bucket.nc, bucket.subject(HISTORY_PATTERN), {
      callback: () => {
        this.#heard = true;
        this.#wake();
      },
    });
  }

  /** Waits until something is heard, at most so many milliseconds; returns whether something was. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.#heard) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, ms);
      await orAbort(promise, signal).catch(() => {});
      clearTimeout(timer);
    }
    const heard = this.#heard;
    this.#heard = false;
    return heard;
  }

  [Symbol.dispose](): void {
    this.#sub.unsubscribe();
  }
}
