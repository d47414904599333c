/**
 * Buckets of many records, written fast.
 *
 * @module
 */

import { BulkWriter } from "../../src/jetstream/log/bulk.ts";
import { userKey } from "../../src/jetstream/records/keys.ts";
import { encodeUser } from "../../src/jetstream/records/values.ts";
import { person } from "../helpers/sqlite.ts";
import { rawBucket } from "./kit.ts";

/** Writes so many users into the bucket of a server. */
export async function writeUsers(servers: string, users: number, bucket?: string): Promise<void> {
  await using raw = await rawBucket(servers, bucket);
  const writer = new BulkWriter(raw.bucket);
  const createdAt = new Date().toISOString();
  for (let i = 0; i < users; i++) {
    const user = { ...person(`bulk ${i}`), createdAt, revokedAt: null };
    const value = encodeUser({ ...user, role: "user", status: "active" });
    await writer.write(userKey(user.signPub), value);
  }
  await writer.flush();
}
