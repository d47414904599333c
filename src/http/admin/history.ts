/**
 * The last hour in numbers, for charts: fixed buckets, so that a request costs a few additions.
 *
 * @module
 */

import type { History, HistoryBucket } from "../../core/operations.ts";

/** How long a stretch is, seconds. */
const SECONDS = 30;
/** How many are kept: an hour. */
const STRETCHES = 120;
/** The steps of latency: each is this much longer than the one before. */
const RATIO = 1.25;
/** The end of the first step, milliseconds. */
const FIRST_MS = 0.05;
/** So many steps reach to 66 s. */
const STEPS = 64;

const SCALE = 1 / Math.log(RATIO);

/** Counts responses. */
export type Recorder = ReturnType<typeof recorderOf>;

interface Stretch {
  /** Its number since 1970; -1: none yet. */
  number: number;
  requests: number;
  denied: number;
  failed: number;
  /** Those of which it is known how long they took. */
  timed: number;
  steps: Uint32Array;
}

/** Makes a recorder; the hour begins now. */
export function recorderOf(now: () => Date) {
  const ring = Array.from({ length: STRETCHES }, (): Stretch => ({
    number: -1,
    requests: 0,
    denied: 0,
    failed: 0,
    timed: 0,
    steps: new Uint32Array(STEPS),
  }));
  const numberOf = () => Math.floor(now().getTime() / (SECONDS * 1000));
  const began = numberOf();

  function current(): Stretch {
    const number = numberOf();
    const stretch = ring[number % STRETCHES]!;
    if (stretch.number !== number) {
      Object.assign(stretch, { number, requests: 0, denied: 0, failed: 0, timed: 0 });
      stretch.steps.fill(0);
    }
    return stretch;
  }

  return {
    /** Counts a response and its milliseconds; `null` for one that was given without any work. */
    request(status: number, ms: number | null): void {
      const stretch = current();
      stretch.requests++;
      if (status >= 500) stretch.failed++;
      if (ms === null) return;
      stretch.timed++;
      const step = ms <= FIRST_MS ? 0 : Math.ceil(Math.log(ms / FIRST_MS) * SCALE);
      stretch.steps[Math.min(step, STEPS - 1)]!++;
    },
    /** Counts a refused signature or right. */
    denial(): void {
      current().denied++;
    },
    /** The last hour. */
    read(): History {
      const number = numberOf();
      const buckets: HistoryBucket[] = [];
      for (let n = Math.max(began, number - STRETCHES + 1); n <= number; n++) {
        const stretch = ring[n % STRETCHES]!;
        // A stretch in which nothing was asked was never begun.
        const { requests, denied, failed, timed } = stretch.number === n ? stretch : NOTHING;
        const within = (share: number) => timed === 0 ? null : quantile(stretch, share);
        buckets.push({
          at: new Date(n * SECONDS * 1000).toISOString(),
          requests,
          denied,
          failed,
          p50: within(0.5),
          p95: within(0.95),
          p99: within(0.99),
        });
      }
      return { seconds: SECONDS, now: now().toISOString(), buckets };
    },
  };
}

const NOTHING = { requests: 0, denied: 0, failed: 0, timed: 0 } as const;

/** The milliseconds within which this share was done: the end of its step, so at most 25 % too long. */
function quantile({ steps, timed }: Stretch, share: number): number {
  let left = Math.ceil(timed * share);
  for (let step = 0; step < STEPS; step++) {
    left -= steps[step]!;
    if (left <= 0) return Number((FIRST_MS * RATIO ** step).toPrecision(3));
  }
  return Number((FIRST_MS * RATIO ** (STEPS - 1)).toPrecision(3));
}
