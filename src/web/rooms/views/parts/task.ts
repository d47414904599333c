/**
 * Something that is done when a button is pressed.
 *
 * @module
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { said } from "../../model/words.ts";

/** It. */
export interface Task {
  readonly busy: boolean;
  /** Why it failed, in words. */
  readonly failure: string | null;
  /** Does it; a second press while it is being done does nothing. */
  run(work: () => Promise<void>): void;
}

/** Keeps whether it is being done, and why it failed. */
export function useTask(): Task {
  const [state, setState] = useState<{ busy: boolean; failure: string | null }>({
    busy: false,
    failure: null,
  });
  const running = useRef(false);
  const there = useRef(true);
  useEffect(() => () => {
    there.current = false;
  }, []);
  const set = (busy: boolean, failure: string | null): void => {
    running.current = busy;
    if (there.current) setState({ busy, failure });
  };
  return {
    ...state,
    run: (work) => {
      if (running.current) return;
      set(true, null);
      work().then(() => set(false, null), (error) => set(false, said(error)));
    },
  };
}
