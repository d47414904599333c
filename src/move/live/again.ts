/**
 * Taking a bucket again that the control plane has left: for a live move back into it.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { thawWriters } from "../../jetstream/freeze.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { leftBucket } from "../../jetstream/log/marked.ts";
import type { Marker } from "../../jetstream/log/marker.ts";
import { isFrozen, streamInfo } from "../../jetstream/log/stream.ts";
import { soon } from "../steps.ts";

/** A file whose control plane moves into a bucket. */
export interface Returning {
  /** Identity of the control plane. */
  storeId: string;
  /** The generation that the file has. */
  generation: number;
}

/**
 * Whether a mark says that the control plane of this file has left the bucket, so that it may come back.
 *
 * @throws {StoreError} `refused`: another control plane has left it, or this one left it later than the
 * file, which is then an old copy
 */
export function mayReturn(
  bucket: Bucket,
  marker: Marker | null,
  { storeId, generation }: Returning,
): boolean {
  if (marker?.moved === undefined) return false;
  const { source, moved: { node, at }, generation: left = 0 } = marker;
  const refuse = (found: string, hint: string) =>
    new StoreError(
      "refused",
      `${leftBucket(`Moving into bucket ${bucket.name}`, marker).message}; ${found}`,
      { field: "moved", hint },
    );
  if (source !== storeId) throw refuse("this file is another control plane", "use another bucket");
  if (generation < left) {
    throw refuse(
      `this file is from before that, of generation ${generation}, not ${left}`,
      `grow on node ${node}, whose file is the control plane since ${at}`,
    );
  }
  return true;
}

/**
 * Lets the writers of a bucket go on that the control plane left. Call it when the bucket's mark is that
 * of the move into it, `in_progress`: then no store opens the bucket, and those that are open are refused.
 * Nothing if they may write already, so a move that was killed can call it again.
 */
export async function openAgain(bucket: Bucket): Promise<void> {
  const info = await streamInfo(bucket, soon());
  if (info !== null && isFrozen(bucket, info)) await thawWriters(bucket, soon());
}
