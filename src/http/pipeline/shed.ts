/**
 * Shedding load: of more than can be done in time, a part is done in time, and the rest is refused at
 * once, before it has cost anything.
 *
 * Two things tell that there is too much. What waits for the store is in flight: there may be so many,
 * and fewer when they take longer than they should. What waits for the processor waits for the event
 * loop: while that is late for long, nothing more is begun.
 *
 * @module
 */

import type { Lateness } from "./loop_delay.ts";

/** How much is too much. */
export interface GateOptions {
  /** Most requests in flight at once. */
  maxInFlight: number;
  /** How long what was let in may take before less is let in, milliseconds. */
  maxDelay: number;
  /** How late the event loop is. */
  lateness(): Lateness;
}

/** A request that was let in. */
export interface Slot {
  /**
   * Waits for what the caller does, such as sending a blob. That time is not ours; and whoever takes
   * long for it must not keep others out, so after `maxDelay` it does not count as in flight.
   */
  waitFor<T>(work: () => Promise<T>): Promise<T>;
  /**
   * The same for what comes before the work, with less patience: who sends many bodies slowly would
   * keep all out. Throws {@link Overloaded} when by its end others have taken the place.
   */
  waitForBody<T>(work: () => Promise<T>): Promise<T>;
  /**
   * Waits for the work of other requests that comes first. It counts as in flight again when its turn
   * has come: one user's queue must not keep the others out.
   */
  waitForTurn(turn: Promise<void>): Promise<void>;
  /** Notes that it has been answered. */
  leave(): void;
}

/** There was no place any more; nothing was done. */
export class Overloaded extends Error {}

/** So many are always let in, at once and in each turn of the event loop. */
const LEAST = 16;
/** A body may take this part of the time that an answer should. */
const FOR_BODY = 0.1;
/** What a timer can wait, milliseconds. */
const MOST_MS = 2 ** 31 - 1;
/** So many at the start, until it is seen how long they take. */
const FIRST = 256;

/** Lets requests in, or not. */
export class Gate {
  readonly #options: GateOptions;
  #inFlight = 0;
  #limit: number;
  #shed = 0;
  #turn = 0;
  #inTurn = 0;

  constructor(options: GateOptions) {
    this.#options = options;
    const { maxInFlight } = options;
    this.#limit = maxInFlight === Infinity ? Infinity : Math.min(FIRST, maxInFlight);
  }

  /** Requests in flight. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** How many there may be now. */
  get limit(): number {
    return this.#limit;
  }

  /** How many were refused so far. */
  get shed(): number {
    return this.#shed;
  }

  /** Lets a request in; null when there is too much already. */
  enter(): Slot | null {
    if (this.#inFlight >= this.#limit || this.#isLate()) {
      this.#shed++;
      return null;
    }
    this.#inTurn++;
    const { maxDelay } = this.#options;
    const began = performance.now();
    const among = ++this.#inFlight;
    let waited = 0;
    let isLent = false;
    let isOver = false;
    const lendAfter = async <T>(patience: number, work: () => Promise<T>): Promise<T> => {
      const from = performance.now();
      const timer = setTimeout(() => {
        isLent = true;
        this.#inFlight--;
      }, Math.min(patience, MOST_MS));
      try {
        return await work();
      } finally {
        clearTimeout(timer);
        waited += performance.now() - from;
      }
    };
    const takeBack = () => {
      if (isLent) this.#inFlight++;
      isLent = false;
    };
    return {
      waitFor: (work) => lendAfter(maxDelay, work).finally(takeBack),
      waitForBody: async (work) => {
        const found = await lendAfter(maxDelay * FOR_BODY, work);
        if (isLent && this.#inFlight >= this.#limit) {
          this.#shed++;
          throw new Overloaded();
        }
        takeBack();
        return found;
      },
      waitForTurn: (turn) => lendAfter(0, () => turn).finally(takeBack),
      leave: () => {
        if (isOver) return;
        isOver = true;
        // It gave its place away and has none to leave.
        if (isLent) return;
        const most = Math.max(among, this.#inFlight--);
        this.#learn(most, performance.now() - began - waited);
      },
    };
  }

  /**
   * Whether what comes now would wait too long for the event loop. It has waited for the turn before
   * and waits in this one, each of which may take half of the time. Late once is a hiccup.
   */
  #isLate(): boolean {
    const { maxDelay, lateness } = this.#options;
    const { now, before, turn } = lateness();
    if (turn !== this.#turn) {
      this.#turn = turn;
      this.#inTurn = 0;
    }
    return now > maxDelay / 2 && before > maxDelay / 2 && this.#inTurn >= LEAST;
  }

  /** Learns from a request that took so long when it was one of `among`. */
  #learn(among: number, took: number): void {
    // Of one that is slow by itself, or quick because it is alone, nothing is to be learned.
    if (among < this.#limit / 2) return;
    const { maxInFlight, maxDelay } = this.#options;
    if (took <= maxDelay) this.#limit = Math.min(maxInFlight, this.#limit + 1);
    // So many would have taken as long as they may.
    else this.#limit = Math.min(this.#limit, Math.max(LEAST, Math.floor(among * maxDelay / took)));
  }
}
