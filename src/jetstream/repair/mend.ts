/**
 * Repairs records that another program wrote under keys that readers do not look up: upper-case
 * hex, IDs in another encoding.
 *
 * @module
 */

import { lowerCase } from "../../core/checks/integrity.ts";
import type { StoreRecord } from "../../core/model.ts";
import { Unreadable } from "../../core/checks/problems.ts";
import { alive, type Bucket, revisionOf, type Write } from "../log/bucket.ts";
import type { BucketRecords } from "../contents/stored.ts";
import { decodeRoom, entriesOf } from "../records/values.ts";
import { WrongRevision } from "../log/wire.ts";

/**
 * Rewrites such records in their canonical form, one per transaction. Skips a record whose
 * canonical key exists, because only a person can decide which of the two is right.
 *
 * @returns The number of repaired records
 */
export async function mendRecords(
  bucket: Bucket,
  records: BucketRecords,
  opTimeout: number,
  signal?: AbortSignal,
): Promise<number> {
  let count = 0;
  for (const { key, it } of mendable(records)) {
    signal?.throwIfAborted();
    if (await mend(bucket, key, it, Date.now() + opTimeout)) count++;
  }
  return count;
}

/** Yields the canonical records and their current keys. */
function* mendable(records: BucketRecords): Generator<{ key: string; it: StoreRecord }> {
  for (const { key, it: raw } of records.entries()) {
    const read = raw instanceof Unreadable ? raw.read : raw;
    const it = read && lowerCase(read);
    if (it !== null && (raw instanceof Unreadable || isOther(raw, it))) yield { key, it };
  }
}

function isOther(raw: StoreRecord, it: StoreRecord): boolean {
  const [a, b] = [entriesOf(raw)[0]!, entriesOf(it)[0]!];
  return a[0] !== b[0] || a[1] !== b[1];
}

async function mend(
  bucket: Bucket,
  key: string,
  it: StoreRecord,
  deadline: number,
): Promise<boolean> {
  const now = alive(await bucket.get(key, deadline));
  if (now === null) return false;
  // The claim of a large change is not part of the record and must not be lost.
  if (it.kind === "rooms" && decodeRoom(key, it.record.id, now.data).pending !== null) return false;
  const [first, ...index] = entriesOf(it);
  const [wanted, value] = first!;
  const writes: Write[] = [];
  if (wanted === key) writes.push({ key, value, expect: now.revision });
  else {
    const there = await bucket.get(wanted, deadline);
    if (alive(there) !== null) return false;
    writes.push({ key: wanted, value, expect: revisionOf(there) });
    writes.push({ key, value: null, expect: now.revision });
  }
  for (const [indexed, entry] of index) writes.push({ key: indexed, value: entry });
  try {
    await bucket.commit(writes, deadline);
    return true;
  } catch (error) {
    // It was changed meanwhile.
    if (error instanceof WrongRevision) return false;
    throw error;
  }
}
