/**
 * Lists that the server filters, sorts and counts, where it can.
 *
 * @module
 */

import { isStoreError } from "../../../core/errors.ts";
import type { Found } from "../../../core/store/search.ts";
import { useLoad } from "../hooks.ts";
import { useKept } from "./session.ts";

/** What else a query says. */
interface Part {
  limit: number;
  after?: string | null;
  total?: boolean;
}

/** A list as the server finds it. */
export interface Searching<T> {
  /** Whether the server can: without a follower it only lists. */
  readonly can: boolean;
  /** Reads a page. */
  read(page: Part, signal?: AbortSignal): Promise<Found<T>>;
  /** The number of items that match; null while it is not known. */
  readonly total: number | null;
}

/**
 * Reads what `asked` says, or everything where the server refuses to search.
 *
 * @param find Sends the query
 * @param all The query for everything
 * @param revision Counts again
 */
export function useSearch<Q extends object, T>(
  find: (query: Q & Part, signal?: AbortSignal) => Promise<Found<T>>,
  asked: Q,
  all: Q,
  revision: number,
): Searching<T> {
  const [can, setCan] = useKept("search", true);
  const what = JSON.stringify([asked, can]);
  const counted = useLoad(
    async (signal) => can ? (await find({ ...asked, limit: 1, total: true }, signal)).total! : null,
    what,
    revision,
  );
  return {
    can,
    total: counted.of === what ? counted.data : null,
    read: (page, signal) =>
      find({ ...can ? asked : all, ...page }, signal).catch((error) => {
        if (!isStoreError(error, "unsupported")) throw error;
        setCan(false);
        return find({ ...all, ...page }, signal);
      }),
  };
}
