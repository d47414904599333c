/**
 * A message of the bucket as rows of a follower's file.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { isStoreError } from "../../core/errors.ts";
import { type Kind, KINDS, type StoreRecord } from "../../core/model.ts";
import { storedRecord } from "../../core/validate.ts";
import type { Entry } from "../../jetstream/log/bucket.ts";
import { isData } from "../../jetstream/contents/compare.ts";
import {
  isHistory,
  isIndex,
  MARKER_KEY,
  type ParsedKey,
  parseKey,
} from "../../jetstream/records/keys.ts";
import {
  decodeRecord,
  decodeRoom,
  encodeIndex,
  encodeRoom,
  entriesOf,
  parseValue,
  type Pending,
} from "../../jetstream/records/values.ts";
import { type Table, TABLES } from "../../sqlite/rows.ts";
import type { Change } from "./messages.ts";

/**
 * Bytes of a hash. Digests are sums of hashes, which find accidents, not somebody who may write the
 * bucket: for that 128 bits are plenty, and a file of millions of keys stays small.
 */
export const HASH_BYTES = 16;

/** The value of nearly all entries of an index: active admins, and accepted memberships. */
const INDEXED = encodeIndex({ accepted: true });

/** The hash of a message: SHA-256 of key, revision and value, its first 16 bytes. */
export function hashOf({ key, revision, data }: Entry): Uint8Array {
  return createHash("sha256").update(`${key}\0${revision}\0`).update(data).digest()
    .subarray(0, HASH_BYTES);
}

/** Takes a message apart. */
export function changeOf(entry: Entry, writtenAt: number, expires: number | null): Change {
  const { key, revision, data } = entry;
  const parsed = parseKey(key);
  const isRecord = isData(key);
  const isEntry = isHistory(key);
  const change: Change = {
    key,
    revision,
    live: data.length > 0 && isRecord,
    value: null,
    table: -1,
    id: [],
    row: null,
    pending: null,
    problem: null,
    isHistory: isEntry,
    other: data.length === 0 || !isRecord,
    writtenAt,
    expires,
  };
  // It is no record, but a bucket that was created again needs its generation.
  if (isEntry || (key === MARKER_KEY && data.length > 0)) change.value = data.slice();
  if (parsed !== null) {
    change.table = KINDS.indexOf(parsed.space as Kind);
    change.id = idOf(parsed);
  }
  if (!change.live) return change;
  try {
    const problem = read(change, parsed, data);
    if (problem !== null) quarantine(change, problem, data);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    quarantine(change, error.message, data);
  }
  return change;
}

function quarantine(change: Change, problem: string, data: Uint8Array): void {
  change.problem = problem;
  change.value = data.slice();
  change.row = null;
  change.pending = null;
}

/** Fills in what the value says; answers with what is wrong with it. */
function read(change: Change, parsed: ParsedKey | null, data: Uint8Array): string | null {
  const { key } = change;
  if (parsed === null) return "the key is not one that this program writes";
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("utf8");
  if (isIndex(key)) {
    parseValue(key, data);
    if (text !== INDEXED) change.value = data.slice();
    return null;
  }
  const it = decodeRecord(key, parsed, data)!;
  const valid = storedRecord(it.kind, it.record);
  const [canonicalKey] = entriesOf(it)[0]!;
  if (canonicalKey !== key) return `the key must be written as ${canonicalKey}`;
  if (parsed.space === "rooms") {
    change.pending = decodeRoom(key, parsed.id, data).pending?.op ?? null;
  }
  change.row = rowOf(valid);
  const written = canonicalOf(it, change.pending as Pending["op"] | null);
  if (text !== written) change.value = data.slice();
  return null;
}

/** The value of a record as this program writes it; of a room, with the change under way. */
export function canonicalOf(it: StoreRecord, op: Pending["op"] | null = null): string {
  return it.kind === "rooms" && op !== null
    ? encodeRoom(it.record, { op } as Pending)
    : entriesOf(it)[0]![1];
}

function rowOf(it: StoreRecord): Change["row"] {
  // Kind and record belong together by the type of a record.
  return (TABLES[it.kind] as Table).toRow(it.record);
}

/** The primary key of the record of a key. */
export function idOf(parsed: ParsedKey): Change["id"] {
  switch (parsed.space) {
    case "rooms":
    case "invites":
      return [parsed.id];
    case "members":
      return [parsed.room, parsed.endpoint];
    case "room_keys":
      return [parsed.room, parsed.epoch, parsed.endpoint];
    case "users":
      return [parsed.signPub];
    default:
      return [];
  }
}
