/**
 * Measuring: rates, and latencies of several things turn by turn, so that a busy moment of the
 * machine hits them all alike.
 *
 * @module
 */

/** Milliseconds a call took, sorted. */
export type Times = number[];

/** Runs each of `tasks` in turn `rounds` times, after a warm-up; times of each, sorted. */
export async function alternate(
  rounds: number,
  tasks: (() => Promise<unknown>)[],
): Promise<Times[]> {
  const times = tasks.map((): Times => []);
  const warmUp = Math.ceil(rounds / 10);
  for (let round = -warmUp; round < rounds; round++) {
    for (const [i, task] of tasks.entries()) {
      const began = performance.now();
      await task();
      if (round >= 0) times[i]!.push(performance.now() - began);
    }
  }
  return times.map((it) => it.sort((a, b) => a - b));
}

/** The middle of sorted times. */
export function median(times: Times): number {
  return times[Math.floor(times.length / 2)]!;
}

/** Calls a second of `task`, awaited one after another, for about `ms` milliseconds. */
export async function rate(ms: number, task: (i: number) => Promise<unknown>): Promise<number> {
  for (let i = 0; i < 200; i++) await task(i);
  const began = performance.now();
  let calls = 0;
  while (performance.now() - began < ms) {
    // The clock costs about as much as the quickest of what is measured here.
    for (let i = 0; i < 50; i++) await task(calls++);
  }
  return calls / ((performance.now() - began) / 1000);
}

/** Milliseconds that `run` takes. */
export async function timed(run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await run();
  return performance.now() - began;
}
