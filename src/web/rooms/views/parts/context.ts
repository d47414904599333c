/**
 * The desk of who is signed in, for all views.
 *
 * @module
 */

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { shortKey, visible } from "../../../shared/format.ts";
import { useNameOf } from "../../../shared/names.ts";
import type { Desk } from "../../model/desk.ts";

/** The desk. */
export const DeskContext = createContext<Desk | null>(null);

/** The desk. */
export function useDesk(): Desk {
  return useContext(DeskContext)!;
}

/** The name of a user, as the server has it; a short key until it is known, or where there is none. */
export function useName(endpoint: string): string {
  return visible(useNameOf(endpoint, useDesk().names) ?? shortKey(endpoint));
}
