/**
 * Reads the contents of a bucket unchanged: every data key is a record, an index entry, or reported
 * as unreadable. Nothing is omitted.
 *
 * @module
 */

import { isStoreError } from "../../core/errors.ts";
import { lowerCase, type StoredRecords } from "../../core/checks/integrity.ts";
import type { StoreRecord } from "../../core/model.ts";
import { Unreadable } from "../../core/checks/problems.ts";
import { counted } from "../../core/text/counted.ts";
import { show } from "../../core/validate.ts";
import type { Bucket } from "../log/bucket.ts";
import { isData } from "./compare.ts";
import { scan } from "../log/feed.ts";
import { isIndex, parseKey } from "../records/keys.ts";
import { Spool } from "./spool.ts";
import { decodeRecord, decodeRoom, entriesOf, isVisible, readable } from "../records/values.ts";

const UNKNOWN = "is not a key of this program";

/**
 * Decodes an entry of a key space with records.
 *
 * @throws {StoreError} unsupported: the value has a newer version
 */
export function readEntry(key: string, data: Uint8Array): StoreRecord | Unreadable {
  const parsed = parseKey(key);
  if (parsed === null) return bad(key, "key", show(key), UNKNOWN);
  let it: StoreRecord | null;
  try {
    it = decodeRecord(key, parsed, data);
  } catch (error) {
    if (!isStoreError(error, "corrupt")) throw error;
    return bad(key, error.field ?? "value", counted(data.length, "byte"), error.message);
  }
  if (it === null) return bad(key, "key", show(key), UNKNOWN);
  const canonical = entriesOf(it)[0]![0];
  if (canonical === key) return it;
  // Another encoding of the same ID: a lookup of the record does not find it.
  return bad(key, "key", show(key), `must be written as ${show(canonical, 400)}`, it);
}

function bad(
  key: string,
  field: string,
  value: string,
  message: string,
  read: StoreRecord | null = null,
): Unreadable {
  const kind = key.split(".", 1)[0]!;
  const problem = { kind, key: show(key, 400), field, value, message, repairable: false };
  return new Unreadable(problem, read);
}

/** All records of a bucket at one point in time, sorted on disk. */
export class BucketRecords implements StoredRecords, Disposable {
  readonly #spool = new Spool();
  /** Rooms with a large change in progress: hidden completely (0), or above an epoch. */
  readonly #pending = new Map<string, number>();
  /** The sequence of the last message that was read. */
  last = 0;

  private constructor() {}

  /** Reads a bucket. */
  static async read(bucket: Bucket, signal?: AbortSignal): Promise<BucketRecords> {
    const it = new BucketRecords();
    try {
      await scan(bucket, {
        signal,
        onEntry: ({ key, revision, data }) => {
          it.last = Math.max(it.last, revision);
          it.#take(key, data);
        },
      });
      return it;
    } catch (error) {
      it[Symbol.dispose]();
      throw error;
    }
  }

  #take(key: string, data: Uint8Array): void {
    if (!isData(key)) return;
    const parsed = parseKey(key);
    if (parsed !== null && isIndex(key)) return;
    this.#spool.take(key, data);
    if (parsed?.space !== "rooms") return;
    this.#pending.delete(parsed.id);
    if (data.length === 0) return;
    // An unreadable one is reported when the records are read.
    const stored = readable(() => decodeRoom(key, parsed.id, data));
    if (stored === null || stored.pending === null) return;
    this.#pending.set(parsed.id, isVisible(stored) ? stored.room.epoch : 0);
  }

  *all(): Generator<StoreRecord | Unreadable> {
    for (const { it } of this.entries()) yield it;
  }

  /** Yields all records with their keys in the bucket. */
  *entries(): Generator<{ key: string; it: StoreRecord | Unreadable }> {
    for (const { key, value } of this.#spool.entries()) {
      const it = this.#read(key, value);
      if (it instanceof Unreadable || !this.#isHidden(it)) yield { key, it };
    }
  }

  #read(key: string, value: Uint8Array): StoreRecord | Unreadable {
    const it = readEntry(key, value);
    if (!(it instanceof Unreadable) || it.read === null) return it;
    const mended = lowerCase(it.read);
    const repairable = mended !== null && !this.has(mended);
    return new Unreadable({ ...it.problem, repairable }, it.read);
  }

  has(it: StoreRecord): boolean {
    return this.#spool.has(entriesOf(it)[0]![0]);
  }

  /** Reports whether a record belongs to an uncommitted large change. */
  #isHidden(it: StoreRecord): boolean {
    if (this.#pending.size === 0 || it.kind === "users" || it.kind === "invites") return false;
    const epoch = this.#pending.get(it.kind === "rooms" ? it.record.id : it.record.roomId);
    return epoch === 0 ||
      epoch !== undefined && it.kind === "room_keys" && it.record.epoch > epoch;
  }

  /** Closes the temporary database. */
  [Symbol.dispose](): void {
    this.#spool[Symbol.dispose]();
  }
}
