/**
 * Checks whether a server uses a bucket.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { counted } from "../core/text/counted.ts";
import type { Bucket } from "./log/bucket.ts";
import { FEED_PREFIX } from "./log/feed.ts";
import { ask } from "./log/wire.ts";

/**
 * Refuses a bucket that a server uses: its later writes would be lost.
 *
 * @throws {StoreError} refused: when a server listens to the bucket
 */
export async function refuseInUse(bucket: Bucket, deadline: number): Promise<void> {
  // The library lists consumers with their state, and leaves out those that do not answer in time.
  const { consumers } = await ask<{ consumers: string[] | null }>(
    bucket.nc,
    `CONSUMER.NAMES.${bucket.stream}`,
    {},
    { deadline },
  );
  const listeners = (consumers ?? []).filter((it) => it.startsWith(FEED_PREFIX)).length;
  if (listeners === 0) return;
  throw new StoreError(
    "refused",
    `Bucket ${bucket.name} is in use by ${
      counted(listeners, "store")
    }; stop the servers first (a killed one counts for another 30 s)`,
  );
}
