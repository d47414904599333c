/**
 * The canonical order of records: by kind as in {@link KINDS}, then by key, text as UTF-8 bytes.
 *
 * @module
 */

import { type Kind, KINDS, type StoreRecord } from "./model.ts";

/** Compares as UTF-8 bytes would: by code point, where `<` on strings goes by UTF-16 unit. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x !== y) {
      // Surrogates (d800 to dfff) stand for code points above all other units: move them to the top.
      if (x >= 0xd800 && y >= 0xd800) {
        x += x < 0xe000 ? 0x2000 : -0x800;
        y += y < 0xe000 ? 0x2000 : -0x800;
      }
      return x - y;
    }
  }
  return a.length - b.length;
}

/** The parts of a record's key: one text, and for sealed keys the epoch, then more text. */
export type RecordKey = [text: string, epoch: number, rest: string];

/** The key of a record inside its kind. */
export function keyOf(it: StoreRecord): RecordKey {
  switch (it.kind) {
    case "rooms":
    case "invites":
      return [it.record.id, 0, ""];
    case "members":
      return [it.record.roomId, 0, it.record.endpoint];
    case "room_keys":
      return [it.record.roomId, it.record.epoch, it.record.endpoint];
    case "users":
      return [it.record.signPub, 0, ""];
  }
}

/** The key as people read it, such as `room_keys r1 2 ab…`. */
export function keyText(it: StoreRecord): string {
  const [text, epoch, rest] = keyOf(it);
  return [it.kind, text, ...(epoch ? [epoch] : []), ...(rest ? [rest] : [])].join(" ");
}

/** Compares two keys of one kind. */
export function compareKeys(a: RecordKey, b: RecordKey): number {
  return compareText(a[0], b[0]) || a[1] - b[1] || compareText(a[2], b[2]);
}

const RANK = Object.fromEntries(KINDS.map((kind, i) => [kind, i])) as Record<Kind, number>;

/** Compares two records in canonical order. */
export function compareRecords(a: StoreRecord, b: StoreRecord): number {
  return RANK[a.kind] - RANK[b.kind] || compareKeys(keyOf(a), keyOf(b));
}

/** A count of zero for each kind. */
export function noCounts(): Record<Kind, number> {
  return { rooms: 0, members: 0, room_keys: 0, users: 0, invites: 0 };
}
