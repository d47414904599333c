/**
 * What differs between two states of a control plane.
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
  /** Its key as people read it, such as `room_keys r1 2 ab…`. */
  key: string;
  /** On which side it is, or that both have it with other values. */
  change: "only-left" | "only-right" | "different";
  /** For `different`, the names of the fields that differ. Never their values. */
  fields?: string[];
}

/** Records in canonical order. */
export type Records = AsyncIterable<StoreRecord> | Iterable<StoreRecord>;

/**
 * Compares two states record by record, and gives the differences in canonical order. Both must
 * come in canonical order, as `records()` and `readSnapshot()` give them (else `invalid`); memory
 * stays flat.
 *
 * @param left One side
 * @param right The other side
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
    // A side that has failed or ended does nothing here; the other one is told to let go.
    await Promise.all([a.end(), b.end()]);
  }
}

/** One of the two streams, and the record it stands at. */
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
    let it: IteratorResult<StoreRecord>;
    try {
      it = await this.#records.next();
    } catch (error) {
      this.#open = false;
      throw error;
    }
    if (it.done) {
      this.#open = false;
      return;
    }
    if (previous !== null && compareRecords(previous, it.value) >= 0) {
      throw new StoreError(
        "invalid",
        `Comparing found the ${this.#name} side out of order: ` +
          `${JSON.stringify(keyText(it.value))} does not come behind ${
            JSON.stringify(keyText(previous))
          }`,
        { field: "order" },
      );
    }
    this.current = it.value;
  }

  async end(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#records.return?.();
  }
}

function difference(it: StoreRecord, change: Difference["change"]): Difference {
  return { kind: it.kind, key: keyText(it), change };
}

function differentFields(a: StoreRecord, b: StoreRecord): string[] {
  const right = b.record as unknown as Record<string, unknown>;
  return Object.entries(a.record)
    .filter(([field, value]) => !equal(value, right[field]))
    .map(([field]) => field);
}

function equal(a: unknown, b: unknown): boolean {
  if (!(a instanceof Uint8Array && b instanceof Uint8Array)) return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
