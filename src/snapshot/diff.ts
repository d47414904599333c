/**
 * Compares two states of a control plane.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { Kind, StoreRecord } from "../core/model.ts";
import { compareRecords, keyText } from "../core/order.ts";

/** One difference between two states. */
export interface Difference {
  /** The kind of the record. */
  kind: Kind;
  /** Its kind and key as text, such as `room_keys r1 2 ab…`. */
  key: string;
  /** Whether only one side has it, or both have it with different values. */
  change: "only-left" | "only-right" | "different";
  /** For `different`, the names of the fields that differ, without their values. */
  fields?: string[];
}

/** Records in canonical order. */
export type Records = AsyncIterable<StoreRecord> | Iterable<StoreRecord>;

/**
 * Compares two states record by record and yields the differences in canonical order. Memory use is
 * constant.
 *
 * @param left One state, in canonical order as from `records()` and `readSnapshot()`
 * @param right The other state, in the same order
 * @throws {StoreError} `invalid`: a state is not in canonical order
 */
export async function* diffRecords(
  left: Records,
  right: Records,
): AsyncGenerator<Difference, void> {
  const a = new Side("left", left);
  const b = new Side("right", right);
  try {
    await a.advance();
    await b.advance();
    while (a.current !== null || b.current !== null) {
      const order = a.current === null
        ? 1
        : b.current === null
        ? -1
        : compareRecords(a.current, b.current);
      if (order < 0) yield difference(a.current!, "only-left");
      else if (order > 0) yield difference(b.current!, "only-right");
      else {
        const fields = differentFields(a.current!, b.current!);
        if (fields.length > 0) yield { ...difference(a.current!, "different"), fields };
      }
      if (order <= 0) await a.advance();
      if (order >= 0) await b.advance();
    }
  } finally {
    // Releases a side that has neither failed nor ended.
    await Promise.all([a.end(), b.end()]);
  }
}

/** One of the two streams and its current record. */
class Side {
  current: StoreRecord | null = null;
  readonly #name: string;
  readonly #records: AsyncIterator<StoreRecord> | Iterator<StoreRecord>;
  #open = true;

  constructor(name: string, records: Records) {
    this.#name = name;
    this.#records = Symbol.asyncIterator in records
      ? records[Symbol.asyncIterator]()
      : records[Symbol.iterator]();
  }

  async advance(): Promise<void> {
    const previous = this.current;
    this.current = null;
    let next: IteratorResult<StoreRecord>;
    try {
      next = await this.#records.next();
    } catch (error) {
      this.#open = false;
      throw error;
    }
    if (next.done) {
      this.#open = false;
      return;
    }
    if (previous !== null && compareRecords(previous, next.value) >= 0) {
      const [before, after] = [previous, next.value].map((it) => JSON.stringify(keyText(it)));
      throw new StoreError(
        "invalid",
        `Comparing found the ${this.#name} side out of order: ${after} follows ${before}`,
        { field: "order" },
      );
    }
    this.current = next.value;
  }

  async end(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#records.return?.();
  }
}

function difference(record: StoreRecord, change: Difference["change"]): Difference {
  return { kind: record.kind, key: keyText(record), change };
}

function differentFields(a: StoreRecord, b: StoreRecord): string[] {
  const [left, right] = [a, b].map((it) => it.record as unknown as Record<string, unknown>);
  // One of the two may lack an optional field.
  return Object.keys({ ...left, ...right }).filter((it) => !equal(left![it], right![it]));
}

function equal(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) || Array.isArray(b)) return JSON.stringify(a) === JSON.stringify(b);
  if (!(a instanceof Uint8Array && b instanceof Uint8Array)) return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
