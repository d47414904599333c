/**
 * Lists a page at a time, however long they are.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { Button } from "../../shared/ui/page.tsx";
import type { Page } from "../../../core/model.ts";
import { counted, number } from "../../shared/format.ts";
import { type Loaded, useLoad } from "../hooks.ts";
import { Empty } from "./pieces.tsx";
import { Reading } from "./trouble.tsx";
import { Table, type TableProps } from "./table.tsx";

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

/** A list of which a page has been read. */
export interface Paged<P> extends Loaded<P> {
  readonly trail: Trail;
  readonly go: (trail: Trail) => void;
  /** What is there is of an older question: its pages are not turned. */
  readonly stale: boolean;
}

/** Reads the page of a list that a trail leads to; `asked` is what else the question depends on. */
export function usePage<P>(
  read: (signal: AbortSignal, after: string | null) => Promise<P>,
  asked: unknown,
  revision: number,
  [trail, go]: [Trail, (trail: Trail) => void],
): Paged<P> {
  const after = trail.at(-1) ?? null;
  const what = JSON.stringify([asked, after]);
  const loaded = useLoad((signal) => read(signal, after), what, revision);
  return { ...loaded, trail, go, stale: loaded.of !== what };
}

/** What {@link Listing} takes. */
export type ListingProps<T> = Omit<TableProps<T>, "caption" | "rows" | "stale"> & {
  of: Paged<Page<T>>;
  /** Number of all items; null or absent while it is not known. */
  total?: number | null;
  /** Items on a full page. */
  size: number;
  /** What is listed, as `user`. */
  noun: string;
  /** What to show where there is nothing. */
  children: ComponentChildren;
};

/** A table with its pager, or why there is none. */
export function Listing<T>(
  { of, size, noun, total, columns, id, picked, children }: ListingProps<T>,
): JSX.Element {
  const { data, stale, trail } = of;
  // What can be done to a selected row depends on how it is shown.
  useLayoutEffect(() => {
    const changed = data?.items.filter((it) => (picked?.rows.get(id(it)) ?? it) !== it) ?? [];
    if (changed.length > 0) picked?.set(changed, true);
  }, [data]);
  return (
    <>
      <Reading load={of} what={`Loading ${noun}s`} />
      {data !== null &&
        (data.items.length === 0 && trail.length === 1 ? <Empty>{children}</Empty> : (
          <>
            <Table
              caption={noun[0]!.toUpperCase() + noun.slice(1) + "s"}
              rows={data.items}
              {...{ columns, id, stale, ...picked && { picked } }}
            />
            <Pager {...of} page={data} size={size} noun={noun} total={total} />
          </>
        ))}
    </>
  );
}

/** Says which part of the list is shown, and leads to the others. */
function Pager<T>(
  { trail, go, stale, page: { items, next }, size, noun, total }:
    & Omit<Paged<unknown>, "data">
    & Pick<ListingProps<T>, "size" | "noun" | "total">
    & { page: Page<T> },
): JSX.Element {
  const first = (trail.length - 1) * size + 1;
  const text = trail.length === 1 && next === null
    ? counted(items.length, noun)
    : items.length === 0
    ? `No more ${noun}s`
    : `${number(first)} to ${number(first + items.length - 1)}${
      typeof total === "number" ? ` of ${number(total)}` : next === null ? ", the last" : ""
    }`;
  /** A page begins at its beginning. */
  const turn = (to: Trail) => {
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
