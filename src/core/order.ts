/**
 * The canonical order of records: by kind as in {@link KINDS}, then by key, text as UTF-8 bytes.
 *
 * @module
 */

import { type Kind, KINDS, type StoreRecord } from "./model.ts";

/** Compares two texts by code point, as their UTF-8 bytes compare; `<` compares UTF-16 units. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x !== y) {
      // Surrogates (d800 to dfff) encode code points above all other units: move them to the top.
      if (x >= 0xd800 && y >= 0xd800) {
        x += x < 0xe000 ? 0x2000 : -0x800;
        y += y < 0xe000 ? 0x2000 : -0x800;
      }
      return x - y;
    }
  }
  return a.length - b.length;
}

/** The parts of a record's key: a text, an epoch (sealed keys only, else 0) and more text. */
export type RecordKey = [text: string, epoch: number, rest: string];

/** Returns the key of a record within its kind. */
export function recordKey({ kind, record }: StoreRecord): RecordKey {
  switch (kind) {
    case "rooms":
    case "invites":
      return [record.id, 0, ""];
    case "members":
      return [record.roomId, 0, record.endpoint];
    case "room_keys":
      return [record.roomId, record.epoch, record.endpoint];
    case "users":
      return [record.signPub, 0, ""];
  }
}

/** Returns the kind and key as text, such as `room_keys r1 2 ab…`. */
export function keyText(record: StoreRecord): string {
  const [text, epoch, rest] = recordKey(record);
  return [record.kind, text, ...(epoch ? [epoch] : []), ...(rest ? [rest] : [])].join(" ");
}

/** Compares two keys of one kind. */
export function compareKeys(a: RecordKey, b: RecordKey): number {
  return compareText(a[0], b[0]) || a[1] - b[1] || compareText(a[2], b[2]);
}

const RANK = Object.fromEntries(KINDS.map((kind, i) => [kind, i])) as Record<Kind, number>;

/** Compares two records in canonical order. */
export function compareRecords(a: StoreRecord, b: StoreRecord): number {
  return RANK[a.kind] - RANK[b.kind] || compareKeys(recordKey(a), recordKey(b));
}

/** Returns a count of zero for each kind. */
export function noCounts(): Record<Kind, number> {
  return { rooms: 0, members: 0, room_keys: 0, users: 0, invites: 0 };
}
