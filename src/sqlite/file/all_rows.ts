/**
 * Reads every row of a database, and detects text that `node:sqlite` alters: text that is not UTF-8 is
 * read with replacement characters, and text with a NUL only up to it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { type Kind, KINDS, type StoreRecord } from "../../core/model.ts";
import { problemOf, Unreadable, unreadable } from "../../core/checks/problems.ts";
import { asArrays, type Row, type Table, TABLES } from "../rows.ts";

/** Rows per page: a call for each page costs half of a call for each row. */
const PAGE = 500;
/** What the runtime returns for bytes that are not UTF-8. */
const REPLACEMENT = "\ufffd";
const NOT_TEXT = ["encrypted", "epoch", "accepted", "sealed_key"];

/**
 * Yields every record of a database in canonical order, with one page of rows in memory. The database
 * must not change in the meantime: it is locked exclusively, or read in a transaction.
 */
export function* allRows(db: DatabaseSync): Generator<StoreRecord | Unreadable> {
  for (const kind of KINDS) yield* rowsOf(db, kind);
}

/**
 * Does the same as {@link allRows}, but does not tolerate unreadable records.
 *
 * @throws {StoreError} `corrupt`: a record cannot be read as it is stored
 */
export function* allRecords(db: DatabaseSync): Generator<StoreRecord> {
  for (const record of allRows(db)) {
    if (record instanceof Unreadable) throw unreadable(record, "Reading the records");
    yield record;
  }
}

function* rowsOf(db: DatabaseSync, kind: Kind): Generator<StoreRecord | Unreadable> {
  const { columns, key, fromRow } = TABLES[kind] as Table;
  const names = columns.split(", ");
  const isText = names.map((name) => !NOT_TEXT.includes(name));
  const texts = names.filter((_, i) => isText[i]);
  // The key is the first columns of every table.
  const width = key.split(", ").length;
  // Cast, because altered text is bound as bytes.
  const marks = isText.slice(0, width).map((text) => text ? "CAST(? AS TEXT)" : "?").join(", ");
  const select = (what: string, where: string) =>
    asArrays(db.prepare(`SELECT ${what} FROM ${kind} ${where} ORDER BY ${key} LIMIT ${PAGE}`));
  const read = names.map((name) => name === "epoch" ? EPOCH : name).join(", ");
  const bytes = texts.map((name) => `coalesce(octet_length(${name}), 0)`).join(" + ");
  const exact = texts.map((name) => `CAST(${name} AS BLOB)`).join(", ");

  let where = "";
  let after: SQLInputValue[] = [];
  let page = select(`${read}, ${bytes}`, where);
  for (;;) {
    const rows = page.all(...after) as unknown as Row[];
    // Read again as bytes, only for pages with text that may have been altered.
    const doubtful = rows.some((row) => isDoubtful(row, isText));
    const stored = doubtful ? select(exact, where).all(...after) as unknown as Row[] : null;
    for (const [i, row] of rows.entries()) {
      const record = { kind, record: fromRow(row) } as StoreRecord;
      const at = stored === null ? -1 : firstAltered(row.filter((_, n) => isText[n]), stored[i]!);
      yield at < 0 ? record : unreadableText(record, texts[at]!, stored![i]![at]!);
    }
    if (rows.length < PAGE) return;
    after = (rows.at(-1)!).slice(0, width) as SQLInputValue[];
    if (stored !== null) {
      const last = [...stored.at(-1)!] as SQLInputValue[];
      after = after.map((value, i) => isText[i] ? last.shift()! : value);
    }
    if (where === "") {
      where = `WHERE (${key}) > (${marks})`;
      page = select(`${read}, ${bytes}`, where);
    }
  }
}

// node:sqlite throws on larger numbers.
const EPOCH = `CASE WHEN epoch <= ${Number.MAX_SAFE_INTEGER} THEN epoch
  ELSE CAST(epoch AS TEXT) END`;

/** Returns whether text may have been altered; the row's last value is the stored size in bytes. */
function isDoubtful(row: Row, isText: readonly boolean[]): boolean {
  const stored = row.at(-1) as number;
  let length = 0;
  for (let i = 0; i < isText.length; i++) {
    const text = row[i];
    if (!isText[i] || typeof text !== "string") continue;
    if (text.includes(REPLACEMENT)) return true;
    length += text.length;
  }
  // As many characters as bytes: only ASCII.
  if (length === stored) return false;
  let bytes = 0;
  for (let i = 0; i < isText.length; i++) {
    const text = row[i];
    if (isText[i] && typeof text === "string") bytes += Buffer.byteLength(text);
  }
  return bytes !== stored;
}

/** Returns the index of the first text that differs from the stored bytes, or -1. */
function firstAltered(texts: Row, stored: Row): number {
  return texts.findIndex((text, i) => {
    const bytes = stored[i];
    return bytes instanceof Uint8Array && !Buffer.from(String(text)).equals(bytes);
  });
}

function unreadableText(record: StoreRecord, column: string, stored: unknown): Unreadable {
  const field = column.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  const what = (stored as Uint8Array).includes(0) ? "holds a NUL character" : "is not valid UTF-8";
  return new Unreadable(problemOf(record, field, `${field} ${what}`), record);
}
