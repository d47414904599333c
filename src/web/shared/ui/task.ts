/**
 * Something that is done when a button is pressed.
 *
 * @module
 */

import { useEffect, useRef, useState } from "preact/hooks";

/** It; `F` is what a page says of a failure. */
export interface Task<F> {
  readonly busy: boolean;
  /** Why it failed. */
  readonly failure: F | null;
  /** Does it; a second press while it is being done does nothing. */
  run(work: () => Promise<void>): void;
  /** Forgets why it failed. */
  clear(): void;
}

/**
 * Keeps whether it is being done, and why it failed.
 *
 * @param reason What to say of an error; null for one that needs no words
 */
export function useTaskOf<F>(reason: (error: unknown) => F | null): Task<F> {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<F | null>(null);
  const running = useRef(false);
  const there = useRef(true);
  useEffect(() => () => {
    there.current = false;
  }, []);
  return {
    busy,
    failure,
    clear: () => setFailure(null),
    run: (work) => {
      if (running.current) return;
      running.current = true;
      setBusy(true);
      setFailure(null);
      work().catch((error) => {
        if (there.current) setFailure(() => reason(error));
      }).finally(() => {
        running.current = false;
        if (there.current) setBusy(false);
      });
    },
  };
}
