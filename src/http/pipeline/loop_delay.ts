/**
 * The delay of the event loop: requests and timers wait that long for it.
 *
 * Measured with a timer of our own, because `monitorEventLoopDelay` measures nothing in Deno. There is
 * one event loop in a process, so there is one measurement, whatever number of servers ask for it.
 *
 * @module
 */

import { clearTimeout, setTimeout } from "node:timers";
import { Gauge, Histogram, type Registry } from "prom-client";

/** How often it is looked at, milliseconds. */
const EVERY_MS = 20;

/** The longest is kept for one to two of these, milliseconds. */
const MAX_FOR_MS = 60_000;

// In no registry but those that `exposeLoopDelay` is given.
const registers: Registry[] = [];

const delays = new Histogram({
  name: "unibus_event_loop_delay_seconds",
  help: "Delay of a timer that fires every 20 ms",
  buckets: [1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000]
    .map((ms) => ms / 1000),
  registers,
});

const longest = new Gauge({
  name: "unibus_event_loop_delay_max_seconds",
  help: "Maximum delay of the last minute or two",
  registers,
  collect() {
    this.set(Math.max(earlier, current) / 1000);
  },
});

let watchers = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let due = 0;
let last = 0;
let turn = 0;
let earlier = 0;
let current = 0;
let currentSince = 0;

/** Measures until the function it returns is called; nested any number of times. */
export function watchLoopDelay(): () => void {
  if (watchers++ === 0) {
    currentSince = performance.now();
    look();
  }
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    if (--watchers > 0) return;
    clearTimeout(timer);
    due = last = 0;
  };
}

/** The delay of the event loop, milliseconds. */
export interface Lateness {
  /** Of the timer that is due. */
  now: number;
  /** Of the timer before. */
  before: number;
  /** Number of measurements so far. */
  turn: number;
}

/** The delay of the event loop; zero unless it is watched. */
export function loopDelay(): Lateness {
  return { now: due === 0 ? 0 : Math.max(0, performance.now() - due), before: last, turn };
}

function look(): void {
  due = performance.now() + EVERY_MS;
  timer = setTimeout(() => {
    const now = performance.now();
    last = Math.max(0, now - due);
    turn++;
    note(last, now);
    look();
  }, EVERY_MS);
  // Measuring must not keep the program running.
  timer.unref();
}

function note(delay: number, now: number): void {
  if (now - currentSince > MAX_FOR_MS) {
    earlier = current;
    current = 0;
    currentSince = now;
  }
  current = Math.max(current, delay);
  delays.observe(delay / 1000);
}

/** Shows the delays in a registry. */
export function exposeLoopDelay(registry: Registry): void {
  registry.registerMetric(delays);
  registry.registerMetric(longest);
}
