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
  /** Which rows are selected; absent where rows cannot be. */
  picked?: Picked<T>;
}

/** The rows that are selected. */
export interface Picked<T> {
  /** By id, also those of other pages. */
  readonly rows: ReadonlyMap<string, T>;
  /** Selects rows, or no longer. */
  set(rows: readonly T[], isPicked: boolean): void;
  /** What a row is called. */
  name(row: T): string;
}

/**
 * A table. Its roles are written out because browsers drop those of elements that the style sheet lays
 * out as something else, as it does on a phone.
 */
export function Table<T>(
  { caption, columns, rows, id, stale, picked }: TableProps<T>,
): JSX.Element {
  const all = picked !== undefined && rows.length > 0 &&
    rows.every((row) => picked.rows.has(id(row)));
  return (
    <table class={stale ? "table table-stale" : "table"} role="table" aria-busy={stale === true}>
      <caption class="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((it, i) => (
            <th
              key={it.head}
              scope="col"
              role="columnheader"
              class={it.number ? "number" : undefined}
            >
              {i === 0 && picked && (
                <label class="pick-all">
                  <Pick
                    label="Select all on this page"
                    checked={all}
                    onChange={(isPicked) => picked.set(rows, isPicked)}
                  />
                  <span>Select all on this page</span>
                </label>
              )}
              <span class={it.actions ? "unseen" : "head"}>{it.head}</span>
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={id(row)} role="row">
            {columns.map((it, i) =>
              i === 0
                ? (
                  <th key={it.head} scope="row" role="rowheader">
                    {picked && (
                      <Pick
                        label={`Select ${picked.name(row)}`}
                        checked={picked.rows.has(id(row))}
                        onChange={(isPicked) => picked.set([row], isPicked)}
                      />
                    )}
                    {it.cell(row)}
                  </th>
                )
                : (
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

function Pick(
  { label, checked, onChange }: {
    label: string;
    checked: boolean;
    onChange: (isPicked: boolean) => void;
  },
): JSX.Element {
  return (
    <input
      type="checkbox"
      class="pick"
      aria-label={label}
      checked={checked}
      onChange={(event) => onChange(event.currentTarget.checked)}
    />
  );
}
