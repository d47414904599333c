/**
 * The address after `#`, which says what is shown, so that views can be linked and Back works.
 *
 * @module
 */

import { useEffect, useState } from "preact/hooks";

/** Returns it, also after it has changed. */
export function useFragment(): string {
  const [fragment, set] = useState(location.hash);
  useEffect(() => {
    const follow = (): void => set(location.hash);
    addEventListener("hashchange", follow);
    // It may have changed between the drawing and now.
    follow();
    return () => removeEventListener("hashchange", follow);
  }, []);
  return fragment;
}

/** Decodes an id in it; `null` if there is none, or it is malformed: it may have been typed. */
export function decoded(id: string): string | null {
  try {
    return id === "" ? null : decodeURIComponent(id);
  } catch {
    return null;
  }
}
