/**
 * Works through many items without holding up the rest of the process.
 *
 * @module
 */

/** Milliseconds of work after which other work has its turn. */
const TURN_MS = 10;

/**
 * Returns what `work` makes of each item, in order. Other work of the process has its turn in between.
 *
 * @param atOnce Number of items that are worked on at the same time
 */
export async function mapInTurns<T, R>(
  items: readonly T[],
  work: (item: T, i: number) => R | Promise<R>,
  atOnce = 8,
): Promise<R[]> {
  const found: R[] = [];
  let began = performance.now();
  let wasLong = false;
  for (let at = 0; at < items.length; at += atOnce) {
    const some = items.slice(at, at + atOnce).map((item, i) => work(item, at + i));
    found.push(...await Promise.all(some));
    if (performance.now() - began < TURN_MS) continue;
    await nextTurn();
    began = performance.now();
    wasLong = true;
  }
  // What the caller does with a long list is a turn of its own.
  if (wasLong) await nextTurn();
  return found;
}

/** Waits until timers and arrived data had their turn. */
function nextTurn(): Promise<void> {
  // Browsers do not have it, and their timers wait longer than need be.
  const { setImmediate = setTimeout } = globalThis as { setImmediate?: (work: () => void) => void };
  return new Promise((resolve) => void setImmediate(resolve));
}
