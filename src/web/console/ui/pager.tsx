/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * Lists a page at a time, however long they are.
 *
 * @module
 */

import type { JSX } from "preact";
import { Button } from "../../shared/page.tsx";
import type { Page } from "../../../core/model.ts";
import { counted, number } from "../format.ts";

/** Where one is in a list: the cursors of the pages so far, the last one that of the page shown. */
export type Trail = readonly (string | null)[];

/** The beginning of a list. */
export const START: Trail = [null];

/**
 * Reads a page full. The server may give fewer than asked for, even none, where it looked at many that
 * do not fit.
 */
export async function filled<T>(
  read: (part: { limit: number; after: string | null }) => Promise<Page<T>>,
  limit: number,
  from: string | null,
): Promise<Page<T>> {
  const items: T[] = [];
  let after = from;
  do {
    const page = await read({ limit: limit - items.length, after });
    items.push(...page.items);
    after = page.next;
  } while (after !== null && items.length < limit);
  return { items, next: after };
}

/** What {@link Pager} takes. */
export interface PagerProps {
  trail: Trail;
  go: (trail: Trail) => void;
  /** Items on a full page. */
  size: number;
  /** Items on this one. */
  shown: number;
  /** The cursor of the next page. */
  next: string | null;
  /** What is listed, as `user`. */
  noun: string;
  /** What is shown is of an older question: its pages are not turned. */
  stale: boolean;
}

/** Says which part of the list is shown, and leads to the others. */
export function Pager({ trail, go, size, shown, next, noun, stale }: PagerProps): JSX.Element {
  const first = (trail.length - 1) * size + 1;
  const text = trail.length === 1 && next === null
    ? counted(shown, noun)
    : shown === 0
    ? `No more ${noun}s`
    : `${number(first)} to ${number(first + shown - 1)}${next === null ? ", the last" : ""}`;
  /** A page begins at its beginning. */
  const turn = (to: typeof trail) => {
    go(to);
    scrollTo(0, 0);
  };
  return (
    <nav class="pager" aria-label={`Pages of ${noun}s`}>
      <p role="status" class="muted">{text}</p>
      {(trail.length > 1 || next !== null) && (
        <div class="actions">
          <Button disabled={stale || trail.length === 1} onClick={() => turn(trail.slice(0, -1))}>
            Previous
          </Button>
          <Button disabled={stale || next === null} onClick={() => turn([...trail, next])}>
            Next
          </Button>
        </div>
      )}
    </nav>
  );
}
