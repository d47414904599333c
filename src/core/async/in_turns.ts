/**
 * Works through many items without holding up the rest of the process.
 *
 * @module
 */

/** Milliseconds of work after which other work has its turn. */
const TURN_MS = 10;

// Browsers do not have it.
const { setImmediate } = globalThis as { setImmediate?: (work: () => void) => unknown };

/** Does `work` in the next turn. */
function soon(work: () => void): void {
  if (setImmediate !== undefined) return void setImmediate(work);
  // Not a timer: those of a page that is out of sight may wait for a minute.
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    work();
  };
  port2.postMessage(null);
}

/** When the first work of this turn began; `null` before any. */
let began: number | null = null;

function isTurnOver(): boolean {
  const now = performance.now();
  if (began === null) {
    began = now;
    soon(() => began = null);
  }
  return now - began >= TURN_MS;
}

/** Waits until timers and arrived data had their turn. */
export function nextTurn(): Promise<void> {
  return new Promise(soon);
}

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
  const found = new Array<R>(items.length);
  let at = 0;
  let pausing: Promise<void> | null = null;
  let wasLong = false;
  const pause = async () => {
    wasLong = true;
    await nextTurn();
    pausing = null;
  };
  const worker = async () => {
    while (at < items.length) {
      if (isTurnOver()) {
        await (pausing ??= pause());
        continue;
      }
      const i = at++;
      found[i] = await work(items[i]!, i);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  } finally {
    // Nothing is begun after a failure.
    at = items.length;
  }
  // What the caller does with a long list is a turn of its own.
  if (wasLong || isTurnOver()) await nextTurn();
  return found;
}
