/**
 * The desk of who is signed in, for all views.
 *
 * @module
 */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { shortKey, visible } from "../../../shared/format.ts";
import type { Desk } from "../../model/desk.ts";

/** The desk. */
export const DeskContext = createContext<Desk | null>(null);

/** The desk. */
export function useDesk(): Desk {
  return useContext(DeskContext)!;
}

/** The name of a user, as the server has it; a short key until it is known, or where there is none. */
export function useName(endpoint: string): string {
  const { names } = useDesk();
  const [, draw] = useState(0);
  const known = names.get(endpoint);
  useEffect(() => {
    const again = (): void => draw((it) => it + 1);
    const stop = names.ask(endpoint, again);
    // It may have come between the drawing and now.
    if (names.get(endpoint) !== known) again();
    return stop;
  }, [endpoint]);
  return visible(known ?? shortKey(endpoint));
}
