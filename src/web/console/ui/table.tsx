/**
 * Tables that become cards where there is no room for columns.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";

/** A column. */
export interface Column<T> {
  /** Its heading; also stands beside the value on a card. */
  head: string;
  /** Its values. */
  cell: (it: T) => ComponentChildren;
  /** Numbers stand right. */
  number?: boolean;
  /** Buttons: the heading is for screen readers only. */
  actions?: boolean;
}

/** What {@link Table} takes. */
export interface TableProps<T> {
  /** What it lists; for screen readers. */
  caption: string;
  /** The first names the row. */
  columns: readonly Column<T>[];
  rows: readonly T[];
  id: (it: T) => string;
  /** What is shown is of an older question. */
  stale?: boolean;
}

/**
 * A table. Its roles are written out because browsers drop those of elements that the style sheet lays
 * out as something else, as it does on a phone.
 */
export function Table<T>({ caption, columns, rows, id, stale }: TableProps<T>): JSX.Element {
  return (
    <table class={stale ? "table table-stale" : "table"} role="table" aria-busy={stale === true}>
      <caption class="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((it) => (
            <th
              key={it.head}
              scope="col"
              role="columnheader"
              class={it.number ? "number" : undefined}
            >
              {it.actions ? <span class="unseen">{it.head}</span> : it.head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={id(row)} role="row">
            {columns.map((it, i) =>
              i === 0 ? <th key={it.head} scope="row" role="rowheader">{it.cell(row)}</th> : (
                <td
                  key={it.head}
                  role="cell"
                  data-label={it.actions ? undefined : it.head}
                  class={it.actions ? "row-actions" : it.number ? "number" : undefined}
                >
                  <div>{it.cell(row)}</div>
                </td>
              )
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
