/// <reference lib="dom" />
/**
 * A list in pages: what is on this one, and the way to the others.
 *
 * @module
 */

import type { JSX } from "preact";
import { Pager, type PagerProps } from "./pager.tsx";
import { Table, type TableProps } from "./table.tsx";

/** What {@link Listing} takes. */
export type ListingProps<T> = TableProps<T> & Omit<PagerProps, "shown" | "stale"> & {
  /** What is shown is of an older question. */
  stale: boolean;
};

/** A table with its pager. */
export function Listing<T>(
  { trail, go, size, next, noun, ...table }: ListingProps<T>,
): JSX.Element {
  const { rows, stale } = table;
  return (
    <>
      <Table {...table} />
      <Pager {...{ trail, go, size, next, noun, stale }} shown={rows.length} />
    </>
  );
}
