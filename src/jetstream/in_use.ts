/**
 * Whether somebody serves from a bucket.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { Bucket } from "./log/bucket.ts";
import { FEED_PREFIX } from "./log/feed.ts";

/** `refused` for a bucket that a server listens to: what it writes later would be lost. */
export async function refuseInUse(bucket: Bucket, deadline: number): Promise<void> {
  const { consumers } = await bucket.api<{ consumers: string[] | null }>(
    `CONSUMER.NAMES.${bucket.stream}`,
    {},
    deadline,
  );
  const listeners = (consumers ?? []).filter((it) => it.startsWith(FEED_PREFIX)).length;
  if (listeners === 0) return;
  throw new StoreError(
    "refused",
    `Bucket ${bucket.name} is in use: ${listeners} listen to it; stop the servers first (one that was ` +
      "killed is forgotten after 30 s)",
  );
}
