/**
 * Lists that are filtered, sorted or counted.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { PageRequest } from "../../core/model.ts";
import type { Search } from "../../core/store/search.ts";
import { Refusal } from "../pipeline/problem.ts";

/** Whether a query asks for pages in the order of the store, which needs no search. */
export function isPlain(query: PageRequest): boolean {
  return beyondPages(query).length === 0;
}

/** Refuses a query of the caller's own rooms that asks for more than pages. */
export function requireAll(query: PageRequest): void {
  const [field] = beyondPages(query);
  if (field === undefined) return;
  throw new StoreError("invalid", `${field} must not be given without all`, { field });
}

function beyondPages(query: object): string[] {
  return Object.keys(query).filter((it) => it !== "limit" && it !== "after");
}

/** The search of a control plane, which a move may bring or take away; without it, requests are refused. */
export function searchOf(search: () => Search | null): Search {
  const current = () => {
    const found = search();
    if (found !== null) return found;
    throw new Refusal("unsupported", "Filters, sorting and counts are not available", {
      status: 400,
      hint: "this server keeps no follower of its bucket: start it with --follower PATH",
    });
  };
  return { users: (query) => current().users(query), rooms: (query) => current().rooms(query) };
}
