/**
 * What a list is filtered by, and its order.
 *
 * @module
 */

import { useKept } from "../data/session.ts";
import { START, type Trail } from "./listing.tsx";

/** The orders of a list that the server sorts. */
export const ORDERS = [
  ["name", "Name"],
  ["newest", "Newest first"],
  ["oldest", "Oldest first"],
] as const;
/** One of {@link ORDERS}. */
export type Order = typeof ORDERS[number][0];

/** The part of a query that asks for an order; `name` is the field that the name is in. */
export function sortOf<N extends string>(
  order: Order,
  name: N,
): { sort: N | "created"; order?: "desc" } {
  if (order === "name") return { sort: name };
  return order === "newest" ? { sort: "created", order: "desc" } : { sort: "created" };
}

/**
 * Keeps what a list is filtered by, and which page of it is shown, while other views are.
 *
 * @param list The list's name
 * @param initial The filter at first; a field with the empty text filters nothing
 * @param onChange Called when it changes; the list begins at its first page then
 */
export function useFilter<F extends { order: string }>(
  list: string,
  initial: F,
  onChange: () => void = () => {},
) {
  const [filter, set] = useKept(`${list}.filter`, initial);
  const trail = useKept<Trail>(`${list}.trail`, START);
  const { order: _, ...asked } = filter;
  return {
    filter,
    trail,
    isFiltered: Object.values(asked).some((it) => it !== ""),
    change(part: Partial<F>): void {
      set({ ...filter, ...part });
      trail[1](START);
      onChange();
    },
  };
}
