/**
 * Every row of a database, also those whose text JavaScript cannot hold as it is stored: text that is
 * not UTF-8 is read with replacement characters, and text with a NUL only up to it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { type Kind, KINDS, type StoreRecord } from "../../core/model.ts";
import { problemOf, Unreadable, unreadable } from "../../core/checks/problems.ts";
import { asArrays, type Row, type Table, TABLES } from "../rows.ts";

/** Rows read at once: a call a page costs half of a call a row, and a page is small. */
const PAGE = 500;
/** What the runtime reads for bytes that are not UTF-8. */
const REPLACEMENT = "\ufffd";
const NOT_TEXT = ["encrypted", "epoch", "accepted", "sealed_key"];

/**
 * Everything in a database in canonical order, a page of rows in memory at a time. The database must
 * not change meanwhile.
 */
export function* allRows(db: DatabaseSync): Generator<StoreRecord | Unreadable> {
  for (const kind of KINDS) yield* rowsOf(db, kind);
}

/**
 * Everything in a database in canonical order. The database must not change meanwhile: held
 * exclusively, or in a transaction. `corrupt` for a record that cannot be read as it is stored.
 */
export function* allRecords(db: DatabaseSync): Generator<StoreRecord> {
  for (const it of allRows(db)) {
    if (it instanceof Unreadable) throw unreadable(it, "Reading the records");
    yield it;
  }
}

function* rowsOf(db: DatabaseSync, kind: Kind): Generator<StoreRecord | Unreadable> {
  const { columns, key, fromRow } = TABLES[kind] as Table;
  const names = columns.split(", ");
  const isText = names.map((name) => !NOT_TEXT.includes(name));
  const texts = names.filter((_, i) => isText[i]);
  // The key is the first columns of every table.
  const width = key.split(", ").length;
  // Bound as bytes where text is not what it seems.
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
    // Read again as bytes, for the few pages where something may be wrong.
    const doubtful = rows.some((row) => isDoubtful(row, isText));
    const stored = doubtful ? select(exact, where).all(...after) as unknown as Row[] : null;
    for (const [i, row] of rows.entries()) {
      const it = { kind, record: fromRow(row) } as StoreRecord;
      const at = stored === null ? -1 : firstAltered(row.filter((_, n) => isText[n]), stored[i]!);
      yield at < 0 ? it : unreadableText(it, texts[at]!, stored![i]![at]!);
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

// node:sqlite refuses to read a larger number.
const EPOCH = `CASE WHEN epoch <= ${Number.MAX_SAFE_INTEGER} THEN epoch
  ELSE CAST(epoch AS TEXT) END`;

/** Whether the text read may not be the text stored; the row's last value is how many bytes that is. */
function isDoubtful(row: Row, isText: readonly boolean[]): boolean {
  const stored = row.at(-1) as number;
  let length = 0;
  for (let i = 0; i < isText.length; i++) {
    const text = row[i];
    if (!isText[i] || typeof text !== "string") continue;
    if (text.includes(REPLACEMENT)) return true;
    length += text.length;
  }
  // As long as it has bytes: nothing but ASCII.
  if (length === stored) return false;
  let bytes = 0;
  for (let i = 0; i < isText.length; i++) {
    const text = row[i];
    if (isText[i] && typeof text === "string") bytes += Buffer.byteLength(text);
  }
  return bytes !== stored;
}

/** The index of the first text that was not read as it is stored, -1 for none. */
function firstAltered(texts: Row, stored: Row): number {
  return texts.findIndex((text, i) => {
    const bytes = stored[i];
    return bytes instanceof Uint8Array && !Buffer.from(String(text)).equals(bytes);
  });
}

function unreadableText(it: StoreRecord, column: string, stored: unknown): Unreadable {
  const field = column.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  const what = (stored as Uint8Array).includes(0) ? "holds a NUL character" : "is not valid UTF-8";
  return new Unreadable(problemOf(it, field, `${field} ${what}`), it);
}
