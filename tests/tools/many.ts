/**
 * Large control planes, written straight into a bucket as the move writes them.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { StoreRecord } from "../../src/core/model.ts";
import type { Bucket } from "../../src/jetstream/log/bucket.ts";
import { BulkWriter } from "../../src/jetstream/log/bulk.ts";
import { entriesOf } from "../../src/jetstream/records/values.ts";

/** A time as records bear it. */
const AT = "2026-01-02T03:04:05.006Z";

/** The key of the n-th user of {@link users}: in no order. */
export function keyOf(n: number): string {
  return createHash("sha256").update(`many ${n}`).digest("hex");
}

/** Users, the first `admins` of them admins. */
export function* users(count: number, admins = 1): Generator<StoreRecord> {
  for (let n = 0; n < count; n++) {
    const signPub = keyOf(n);
    const role = n < admins ? "admin" as const : "user" as const;
    const state = { status: "active" as const, createdAt: AT, revokedAt: null };
    yield {
      kind: "users",
      record: { signPub, kexPub: signPub, handle: `user ${n}`, role, ...state },
    };
  }
}

/** A room of {@link rooms}. */
export const roomId = (n: number): string => `room-${String(n).padStart(6, "0")}`;

/** Cleartext rooms, owned by the first of their members, who are named by {@link keyOf}. */
export function* rooms(of: Iterable<{ id: string; members: number[] }>): Generator<StoreRecord> {
  for (const { id, members } of of) {
    const owner = keyOf(members[0]!);
    const subject = `bus.${id}`;
    yield {
      kind: "rooms",
      record: { id, subject, encrypted: false, owner, epoch: 1, createdAt: AT },
    };
    for (const n of members) {
      const endpoint = keyOf(n);
      const role = endpoint === owner ? "owner" as const : "member" as const;
      const keys = { endpoint, signPub: endpoint, kexPub: endpoint };
      yield {
        kind: "members",
        record: { roomId: id, role, ...keys, joinedAt: AT, accepted: true },
      };
    }
  }
}

/** Writes records by the move's fast batches. */
export async function fill(bucket: Bucket, ...all: Iterable<StoreRecord>[]): Promise<void> {
  const writer = new BulkWriter(bucket);
  for (const records of all) {
    for (const it of records) {
      for (const [key, value] of entriesOf(it)) await writer.write(key, value);
    }
  }
  await writer.flush();
}
