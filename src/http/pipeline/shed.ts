/**
 * Load shedding: under overload, some requests are answered in time and the rest are refused
 * immediately, before they cost anything.
 *
 * Overload is detected in two ways. Requests that wait for the store are in flight: their number is
 * limited, and the limit falls if they take longer than they should. Requests that wait for the
 * processor wait for the event loop: while it is delayed, no new ones are accepted.
 *
 * @module
 */

import type { Lateness } from "./loop_delay.ts";

/** Options of a {@link Gate}. */
export interface GateOptions {
  /** Most requests in flight at once. */
  maxInFlight: number;
  /** Target time of a request, milliseconds: if they take longer, fewer are let in. */
  maxDelay: number;
  /** The delay of the event loop. */
  lateness(): Lateness;
}

/** A request that was accepted. */
export interface Slot {
  /**
   * Waits for the client, such as for a blob it sends. That time does not count; and so that slow
   * clients do not keep others out, after `maxDelay` the request does not count as in flight.
   */
  waitFor<T>(work: () => Promise<T>): Promise<T>;
  /**
   * The same for the body of a request, with less patience: a client that sends many bodies slowly would
   * keep all others out. Throws {@link Overloaded} if others have taken the place meanwhile.
   */
  waitForBody<T>(work: () => Promise<T>): Promise<T>;
  /**
   * Waits for earlier work of other requests. Until its turn the request does not count as in flight, so
   * that one user's queue does not keep others out.
   */
  waitForTurn(turn: Promise<void>): Promise<void>;
  /** Notes that it has been answered. */
  leave(): void;
}

/** There is no place left; nothing was done. */
export class Overloaded extends Error {}

/** The least number that are let in at once, and in each turn of the event loop. */
const LEAST = 16;
/** Part of `maxDelay` that a body may take. */
const FOR_BODY = 0.1;
/** Longest wait of a timer, milliseconds. */
const MOST_MS = 2 ** 31 - 1;
/** The limit at the start, until it is known how long requests take. */
const FIRST = 256;

/** Limits the requests in flight. */
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
   * Whether a new request would wait too long for the event loop. It waits for up to two turns, each of
   * which may take half of the time. A single long turn does not count.
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
