/**
 * Counting what the load did: calls by kind, and what failed that should not have.
 *
 * @module
 */

import { isStoreError } from "../../src/core/errors.ts";

/** What happened since the last look. */
export interface Tally {
  /** Calls that ended as they should. */
  good: number;
  /** Failures that nobody expected, by call and code. */
  failed: Map<string, number>;
}

/** How many failures are kept word for word. */
const KEPT = 50;

/** Counts calls. */
export class Meter {
  readonly #clock: () => number;
  #tally: Tally = { good: 0, failed: new Map() };
  /** All that went wrong, from the first on, with the time in seconds. */
  readonly failures: string[] = [];
  failedInAll = 0;
  calls = 0;
  readonly kinds: Map<string, number> = new Map();

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Makes a call that must succeed; undefined when it did not. */
  async call<T>(kind: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      const found = await work();
      this.#good(kind);
      return found;
    } catch (error) {
      this.fail(kind, error);
      return undefined;
    }
  }

  /** Makes a call that must be refused with one of these codes. */
  async refused(kind: string, codes: string[], work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isStoreError(error) && codes.includes(error.code)) return this.#good(kind);
      return this.fail(kind, error);
    }
    this.fail(kind, new Error(`It was done, and ${codes} expected`));
  }

  /** Notes a failure. */
  fail(kind: string, error: unknown): void {
    const code = isStoreError(error) ? error.code : "error";
    const { failed } = this.#tally;
    const name = `${kind}:${code}`;
    failed.set(name, (failed.get(name) ?? 0) + 1);
    this.failedInAll++;
    if (this.failures.length >= KEPT) return;
    const text = error instanceof Error ? error.message : String(error);
    this.failures.push(`${(this.#clock() / 1000).toFixed(1)} s ${name} ${text}`);
  }

  #good(kind: string): void {
    this.#tally.good++;
    this.calls++;
    this.note(kind);
  }

  /** Counts something. */
  note(kind: string): void {
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
  }

  /** What happened since it was asked last. */
  take(): Tally {
    const tally = this.#tally;
    this.#tally = { good: 0, failed: new Map() };
    return tally;
  }
}

/** Hands out turns, so many a second in all. */
export class Pace {
  readonly #gap: number;
  #next = 0;

  constructor(perSecond: number) {
    this.#gap = 1000 / perSecond;
  }

  /** Waits for the next turn. */
  async turn(): Promise<void> {
    const now = performance.now();
    // What was missed while the machine was busy is not made up for.
    this.#next = Math.max(now, this.#next + this.#gap);
    await new Promise((resolve) => setTimeout(resolve, this.#next - now));
  }
}
