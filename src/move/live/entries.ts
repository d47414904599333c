/**
 * The entries that a bucket should hold for records that changed.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Kind } from "../../core/model.ts";
import type { RecordKey } from "../../core/order.ts";
import { storedRecord } from "../../core/validate.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import {
  adminKey,
  indexKey,
  inviteKey,
  memberKey,
  roomKey,
  sealedKeyKey,
  userKey,
} from "../../jetstream/records/keys.ts";
import { entriesOf } from "../../jetstream/records/values.ts";
import type { JourneyFile } from "../../sqlite/file/journey/file.ts";
import type { Note } from "../../sqlite/file/journey/notes.ts";

/** Keys and the values that they should have; `null` for none. */
export type Wanted = Map<string, string | null>;

/** Keys and values to write; `null` deletes. */
export type Entries = [key: string, value: string | null][];

/** All keys in the bucket that depend on a record. */
function keysOf(kind: Kind, [text, epoch, rest]: RecordKey): string[] {
  switch (kind) {
    case "rooms":
      return [roomKey(text)];
    case "members":
      return [memberKey(text, rest), indexKey(rest, text)];
    case "room_keys":
      return [sealedKeyKey(text, epoch, rest)];
    case "users":
      return [userKey(text), adminKey(text)];
    case "invites":
      return [inviteKey(text)];
  }
}

/**
 * Returns what the bucket should hold for changed records, as a file has them.
 *
 * @throws {StoreError} `invalid`: a record is not valid
 */
export function wantedOf(notes: Note[], get: JourneyFile["get"]): Wanted {
  const wanted: Wanted = new Map();
  for (const { kind, key } of notes) {
    for (const name of keysOf(kind, key)) wanted.set(name, null);
    const record = get(kind, key);
    if (record === null) continue;
    const valid = storedRecord(record.kind, record.record);
    for (const [name, value] of entriesOf(valid)) wanted.set(name, value);
  }
  return wanted;
}

/** Returns a key that the bucket does not hold as it was written; `null` if there is none. */
export async function differentIn(
  bucket: Bucket,
  entries: Entries,
  deadline: number,
): Promise<string | null> {
  // One by one: reading many keys at once looks through all of a large stream.
  const found = await Promise.all(entries.map(([key]) => bucket.get(key, deadline)));
  const at = entries.findIndex(([, value], i) => {
    const data = found[i]?.data ?? new Uint8Array();
    return !Buffer.from(value ?? "").equals(data);
  });
  return at < 0 ? null : entries[at]![0];
}
