/**
 * Calls to what a program has given, such as a listener.
 *
 * @module
 */

/** Calls it without waiting. Its errors are ignored: they must end neither a connection nor the process. */
export function callQuietly(callback: () => unknown): void {
  try {
    const answer = callback();
    if (answer instanceof Promise) answer.catch(() => {});
  } catch {
    // What it was told of has happened.
  }
}
