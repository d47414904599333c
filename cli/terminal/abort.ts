/**
 * Not waiting any longer.
 *
 * @module
 */

/** Waits for `work`, or until the signal; what comes later is discarded. */
export async function orAbort<T>(
  work: Promise<T>,
  signal: AbortSignal,
  discard: (late: T) => void = () => {},
): Promise<T> {
  let onAbort = () => {};
  const end = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(signal.reason);
      work.then(discard, () => {});
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, end]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
