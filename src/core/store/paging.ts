/**
 * Pages of lists: what a caller asks for, what comes back, and every page after another.
 *
 * @module
 */

import type { Range, SealedKeyCursor } from "../backend.ts";
import { StoreError } from "../errors.ts";
import type { Page } from "../model.ts";
import * as check from "../validate.ts";

/** A range, and how its cursor is read. */
type Asked<K> = Range<K> & { parse: (field: string, value: unknown) => K };

/** The range that `page` asks for; `after` reads a cursor, `more` names other options. */
export function rangeOf<K>(
  page: unknown,
  after: (field: string, value: unknown) => K,
  ...more: string[]
): Asked<K> {
  const it = check.options("page", page, ["limit", "after", ...more]);
  return {
    parse: after,
    limit: check.integer(
      "limit",
      it.limit ?? check.LIMITS.pageDefault,
      1,
      check.LIMITS.pageMax,
    ),
    after: it.after === undefined || it.after === null ? null : after("after", it.after),
  };
}

/** One more than asked for tells whether there is a next page. */
export function oneMore<K>(range: Range<K>): Range<K> {
  return { ...range, limit: range.limit + 1 };
}

/** The page of `items`, which are one more than asked for where there is a next page. */
export function pageOf<K, T>(
  range: Asked<K>,
  items: T[],
  cursor: (it: T) => string,
): Page<T> {
  if (items.length <= range.limit) return { items, next: null };
  const shown = items.slice(0, range.limit);
  const next = cursor(shown[shown.length - 1]!);
  requireReadable(next, range.parse);
  return { items: shown, next };
}

/** After a key that reads as another one the next page would repeat records or leave some out. */
function requireReadable(next: string, parse: (field: string, value: unknown) => unknown): void {
  let cause: unknown;
  try {
    if (typeof parse("next", next) !== "string" || parse("next", next) === next) return;
  } catch (error) {
    cause = error;
  }
  throw new StoreError(
    "corrupt",
    `Listing found the invalid key ${check.show(next, 400)}; doctor lists all such records`,
    { cause, field: "key" },
  );
}

/** The key to continue after in a list of sealed keys. */
export function sealedKeyCursor(field: string, value: unknown): SealedKeyCursor {
  const [, epoch, endpoint] = /^(\d{1,10})\/([0-9a-f]{64})$/.exec(String(value)) ?? [];
  if (epoch === undefined || endpoint === undefined) {
    throw check.invalid(
      field,
      `${field} must be the next of an earlier page, found ${check.show(value)}`,
    );
  }
  return { epoch: Number(epoch), endpoint };
}
