/**
 * Prints results: tables and fields, or one JSON document.
 *
 * @module
 */

import type { Context } from "./context.ts";
import type { Counts, Page, PageRequest } from "../../src/core/model.ts";
import { counted } from "../../src/core/text/counted.ts";

/** Number of characters collected before they are written. */
const CHUNK = 32_768;
const PAGE = 1000;

// Characters that a terminal would interpret: control characters, and marks that reorder text.
// deno-lint-ignore no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]|\p{Cf}/gu;

/** Escapes characters that a terminal would interpret. */
export function printable(text: string): string {
  return text.replace(UNSAFE, (it) => `\\u{${it.codePointAt(0)!.toString(16)}}`);
}

/** Formats JSON that is safe for a terminal: JSON itself does not escape all control characters. */
export function safeJson(value: unknown, space?: number): string {
  return JSON.stringify(value, null, space).replace(
    /[\u007f-\u009f\u2028\u2029]|\p{Cf}/gu,
    (it) => [...Array(it.length).keys()].map((i) => escaped(it.charCodeAt(i))).join(""),
  );
}

function escaped(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, "0")}`;
}

/** Writes lines to stdout. */
export async function print({ io }: Context, ...lines: string[]): Promise<void> {
  await io.stdout.write(lines.map((it) => `${it}\n`).join(""));
}

/** Writes a line to stderr. */
export async function say({ io }: Context, line: string): Promise<void> {
  await io.stderr.write(`${line}\n`);
}

/** Writes a JSON document to stdout. */
export async function printJson(context: Context, value: unknown): Promise<void> {
  await print(context, safeJson(value, 2));
}

/** Formats names and values as aligned lines. */
export function fields(values: Record<string, string | number | boolean | null>): string[] {
  const width = Math.max(...Object.keys(values).map((it) => it.length));
  return Object.entries(values).map(([name, value]) =>
    `${name.padEnd(width)}  ${value === null ? "-" : printable(String(value))}`
  );
}

/** Formats counts: `2 rooms, 4 members, 6 keys, 3 users, 1 invite`. */
export function countsText(counts: Counts): string {
  const { rooms, members, room_keys, users, invites } = counts;
  return [
    counted(rooms, "room"),
    counted(members, "member"),
    counted(room_keys, "key"),
    counted(users, "user"),
    counted(invites, "invite"),
  ].join(", ");
}

/** Formats the number of entries of a history, to follow those of the records. */
export function historyText(count: number | null): string {
  return count === null ? "" : `, ${counted(count, "entry", "entries")} of the history`;
}

/** Formats the digests, one per line. */
export function digestLines(digests: Record<string, string>): string[] {
  return Object.entries(digests).map(([kind, it]) => `sha256 ${kind.padEnd(9)} ${it}`);
}

/** Returns the total number of records. */
export function totalOf(counts: Counts): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

/** A JSON document with one long array, written item by item. */
export class JsonList {
  readonly #context: Context;
  readonly #name: string;
  #text = "";
  #begun = false;

  constructor(context: Context, name: string) {
    this.#context = context;
    this.#name = name;
  }

  /** Adds an item. */
  async add(item: unknown): Promise<void> {
    const separator = this.#begin() ? "" : ",";
    this.#text += `${separator}\n  ${safeJson(item)}`;
    if (this.#text.length >= CHUNK) await this.#flush();
  }

  /** Completes the document with these fields after the array. */
  async end(rest: Record<string, unknown> = {}): Promise<void> {
    const empty = this.#begin();
    const fields = Object.entries(rest).map(([name, it]) =>
      `,\n${safeJson(name)}: ${safeJson(it)}`
    );
    this.#text += `${empty ? "" : "\n"}]${fields.join("")}}\n`;
    this.#context.document = null;
    await this.#flush();
  }

  /** Starts the document as late as possible, because an error before that has its own document. */
  #begin(): boolean {
    if (this.#begun) return false;
    this.#begun = true;
    this.#context.document = this;
    this.#text += `{${JSON.stringify(this.#name)}: [`;
    return true;
  }

  async #flush(): Promise<void> {
    const text = this.#text;
    this.#text = "";
    await this.#context.io.stdout.write(text);
  }
}

/** A list and how to print it. */
export interface Listing<T> {
  /** Name of the array in the JSON document, such as `users`. */
  name: string;
  /** Reads a page. */
  page: (request: PageRequest) => Promise<Page<T>>;
  /** The table's columns: heading and cell. */
  columns: Record<string, (item: T) => string | number | null>;
}

/** Prints a list page by page: all items, or at most `limit`. */
export async function printList<T>(
  context: Context,
  { limit = Infinity, after = null, json }: { limit?: number; after?: string | null; json?: true },
  listing: Listing<T>,
): Promise<void> {
  const list = json ? new JsonList(context, listing.name) : null;
  let widths: number[] | null = null;
  let shown = 0;
  let next: string | null = after;
  do {
    context.io.signal.throwIfAborted();
    const page: Page<T> = await listing.page({
      limit: Math.min(PAGE, limit - shown),
      after: next,
    });
    for (const item of page.items) await list?.add(item);
    if (list === null && page.items.length > 0) {
      const rows = page.items.map((item) => cells(listing, item));
      if (widths === null) {
        rows.unshift(Object.keys(listing.columns));
        widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
      }
      await print(context, ...rows.map((row) => line(row, widths!)));
    }
    shown += page.items.length;
    next = page.next;
  } while (next !== null && shown < limit);
  if (list !== null) return await list.end({ next });
  if (shown === 0) await say(context, `no ${listing.name}`);
  if (next !== null) await say(context, `more items: --after ${printable(next)}`);
}

function cells<T>({ columns }: Listing<T>, item: T): string[] {
  return Object.values(columns).map((cell) => {
    const value = cell(item);
    return value === null || value === "" ? "-" : printable(String(value));
  });
}

function line(row: string[], widths: number[]): string {
  return row.map((it, i) => i === row.length - 1 ? it : it.padEnd(widths[i]!)).join("  ");
}
