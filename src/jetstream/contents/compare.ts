/**
 * Compares records in canonical order with the bucket, entry by entry, in constant memory.
 *
 * A bucket filled by this program delivers its messages in nearly the same order, so both sides are
 * read in parallel; entries that are out of order are kept until the other side has them. If there
 * are too many of them, the bucket is sorted on disk first.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { StoreRecord } from "../../core/model.ts";
import type { Bucket } from "../log/bucket.ts";
import { scan } from "../log/feed.ts";
import { comparePlaces, isHistory, placeOf } from "../records/keys.ts";
import { Spool } from "./spool.ts";
import { entriesOf } from "../records/values.ts";

/** An entry that differs between both sides. */
export type Diff =
  | { change: "missing" | "different"; key: string; value: string }
  | { change: "extra"; key: string };

/** Options of a comparison. */
export interface CompareOptions {
  /**
   * Called at the start of a pass; the returned function is called for each record, in canonical
   * order.
   */
  observe?: () => (it: StoreRecord) => void;
  /** Called with the number of the bucket's entries seen so far. */
  onProgress?: (done: number) => void;
  /** Aborts the comparison. */
  signal?: AbortSignal;
  /** Maximum number of out-of-order entries kept in memory. Default 50,000. */
  limit?: number;
  /** Reads so many entries at a time, so that other work of the process goes on in between. */
  piece?: number;
}

/** Reports whether a key contains data of the control plane, as opposed to internal entries. */
export function isData(key: string): boolean {
  return !key.startsWith("meta.") && !isHistory(key);
}

interface Expected {
  key: string;
  value: string;
}

/** The expected entries of the bucket in canonical order; index entries follow their record. */
class Wanted {
  readonly #records: Iterator<StoreRecord>;
  readonly #onRecord: ((it: StoreRecord) => void) | undefined;
  #rest: Expected[] = [];
  current: Expected | null = null;

  constructor(records: Iterable<StoreRecord>, onRecord?: (it: StoreRecord) => void) {
    this.#records = records[Symbol.iterator]();
    this.#onRecord = onRecord;
    this.advance();
  }

  advance(): void {
    const more = this.#rest.pop();
    if (more !== undefined) {
      this.current = more;
      return;
    }
    const next = this.#records.next();
    if (next.done) {
      this.current = null;
      return;
    }
    this.#onRecord?.(next.value);
    const [first, second] = entriesOf(next.value);
    this.current = { key: first![0], value: first![1] };
    if (second) this.#rest.push({ key: second[0], value: second[1] });
  }

  close(): void {
    this.#records.return?.();
  }
}

function isSame(data: Uint8Array, value: string): boolean {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  // Invalid UTF-8 is decoded as replacement characters, which a valid value can contain too.
  return bytes.toString("utf8") === value &&
    (!value.includes("\ufffd") || bytes.equals(Buffer.from(value)));
}

class OutOfPlace extends Error {}

/** Reads both sides in parallel; keeps out-of-order entries in `missing` until they are found. */
class Walk {
  readonly missing = new Map<string, string>();
  readonly different = new Map<string, string>();
  readonly extra = new Set<string>();
  readonly wanted: Wanted;
  readonly #limit: number;
  #seen = 0;

  constructor(wanted: Wanted, limit: number) {
    this.wanted = wanted;
    this.#limit = limit;
  }

  get seen(): number {
    return this.#seen;
  }

  take(key: string, data: Uint8Array): void {
    this.#seen++;
    if (data.length === 0) return;
    const { wanted } = this;
    if (wanted.current?.key === key) {
      if (!isSame(data, wanted.current.value)) this.#set(this.different, key, wanted.current.value);
      wanted.advance();
      return;
    }
    const held = this.missing.get(key);
    if (held !== undefined) {
      this.missing.delete(key);
      if (!isSame(data, held)) this.#set(this.different, key, held);
      return;
    }
    const place = placeOf(key);
    while (
      wanted.current !== null && comparePlaces(placeOf(wanted.current.key), place) < 0
    ) {
      this.#set(this.missing, wanted.current.key, wanted.current.value);
      wanted.advance();
    }
    if (wanted.current?.key === key) return this.#again(key, data);
    this.extra.add(key);
    this.#check();
  }

  #again(key: string, data: Uint8Array): void {
    this.#seen--;
    this.take(key, data);
  }

  #set(map: Map<string, string>, key: string, value: string): void {
    map.set(key, value);
    this.#check();
  }

  #check(): void {
    if (this.missing.size + this.different.size + this.extra.size > this.#limit) {
      throw new OutOfPlace();
    }
  }

  *diffs(): Generator<Diff> {
    for (const key of this.extra) yield { change: "extra", key };
    for (const [key, value] of this.different) yield { change: "different", key, value };
    for (const [key, value] of this.missing) yield { change: "missing", key, value };
    for (; this.wanted.current !== null; this.wanted.advance()) {
      yield { change: "missing", ...this.wanted.current };
    }
  }
}

/**
 * Yields the changes after which the bucket contains exactly these records. The bucket is read
 * completely before the first difference is yielded, so applying them does not disturb the reading.
 *
 * @param records Canonical order; must give the same records each time it is iterated
 */
export async function* compare(
  bucket: Bucket,
  records: () => Iterable<StoreRecord>,
  options: CompareOptions = {},
): AsyncGenerator<Diff> {
  const { signal, piece, onProgress, limit = 50_000 } = options;
  const wanted = new Wanted(records(), options.observe?.());
  try {
    const walk = new Walk(wanted, limit);
    await scan(bucket, {
      signal,
      piece,
      onEntry: (entry) => {
        if (!isData(entry.key)) return;
        walk.take(entry.key, entry.data);
        if (walk.seen % 1000 === 0) onProgress?.(walk.seen);
      },
    });
    yield* walk.diffs();
    return;
  } catch (error) {
    if (!(error instanceof OutOfPlace)) throw error;
  } finally {
    wanted.close();
  }
  yield* compareSorted(bucket, records, options);
}

/** Does the same with the bucket sorted on disk: slower, but works for any order. */
async function* compareSorted(
  bucket: Bucket,
  records: () => Iterable<StoreRecord>,
  { signal, piece, onProgress, observe }: CompareOptions,
): AsyncGenerator<Diff> {
  using spool = new Spool();
  let seen = 0;
  await scan(bucket, {
    signal,
    piece,
    onEntry: ({ key, data }) => {
      if (!isData(key)) return;
      spool.take(key, data);
      if (++seen % 1000 === 0) onProgress?.(seen);
    },
  });
  const wanted = new Wanted(records(), observe?.());
  try {
    for (const { key, value } of spool.entries()) {
      const place = placeOf(key);
      while (
        wanted.current !== null && wanted.current.key !== key &&
        comparePlaces(placeOf(wanted.current.key), place) < 0
      ) {
        yield { change: "missing", ...wanted.current };
        wanted.advance();
      }
      if (wanted.current?.key !== key) yield { change: "extra", key };
      else {
        if (!isSame(value, wanted.current.value)) yield { change: "different", ...wanted.current };
        wanted.advance();
      }
    }
    for (; wanted.current !== null; wanted.advance()) {
      yield { change: "missing", ...wanted.current };
    }
  } finally {
    wanted.close();
  }
}
