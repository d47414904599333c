/**
 * Requests and results of lists by page.
 *
 * @module
 */

import type { Range, SealedKeyCursor } from "../backend.ts";
import { StoreError } from "../errors.ts";
import type { Page } from "../model.ts";
import * as check from "../validate.ts";

/** A range, and how to parse its cursor. */
type Asked<K> = Range<K> & { parse: (field: string, value: unknown) => K };

/** Returns the requested range; `after` parses a cursor, `more` lists other allowed options. */
export function rangeOf<K>(
  page: unknown,
  after: (field: string, value: unknown) => K,
  ...more: string[]
): Asked<K> {
  const given = check.options("page", page, ["limit", "after", ...more]);
  return {
    parse: after,
    limit: check.integer(
      "limit",
      given.limit ?? check.LIMITS.pageDefault,
      1,
      check.LIMITS.pageMax,
    ),
    after: given.after === undefined || given.after === null ? null : after("after", given.after),
  };
}

/** Returns the range with one more item, which shows whether there is a next page. */
export function oneMore<K>(range: Range<K>): Range<K> {
  return { ...range, limit: range.limit + 1 };
}

/** Returns the page of items that were read with {@link oneMore}. */
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

/** Refuses an invalid key as a cursor, because the next page could repeat or omit records. */
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

/** Parses the cursor of a list of sealed keys. */
export function sealedKeyCursor(field: string, value: unknown): SealedKeyCursor {
  const [, epoch, endpoint] = /^(\d{1,10})\/([0-9a-f]{64})$/.exec(String(value)) ?? [];
  if (epoch === undefined || endpoint === undefined) {
    throw check.invalid(
      field,
      `${field} must be the \`next\` of an earlier page, found ${check.show(value)}`,
    );
  }
  return { epoch: Number(epoch), endpoint };
}
