/**
 * What a start finds of a live move out of a bucket that was killed: finished, or called off.
 *
 * @module
 */

import { StoreError } from "../../../core/errors.ts";
import { thawWriters } from "../../../jetstream/freeze.ts";
import type { Bucket } from "../../../jetstream/log/bucket.ts";
import type { Moved } from "../../../jetstream/log/marked.ts";
import { type Marker, readMarker } from "../../../jetstream/log/marker.ts";
import { type JetStreamOptions, openBucket } from "../../../jetstream/mod.ts";
import { absolute } from "../../../sqlite/file/file.ts";
import { soon } from "../../steps.ts";
import { settle } from "./marks.ts";
import { type Becomes, isKept, knownOf, place, take } from "./place.ts";
import type { ShrinkBlobs } from "./types.ts";

/** Options of {@link finishShrink}. */
export interface FinishShrinkOptions {
  /** The servers and the bucket. */
  nats: JetStreamOptions;
  /** Path of the file that the control plane moves to. */
  db: string;
  /** Path of the follower's file. */
  follower: string;
  /** Name of this node. */
  node: string;
  /** The blobs: their writers go on when the move is called off. */
  blobs?: Pick<ShrinkBlobs, "thaw">;
}

/** What {@link finishShrink} found and did. */
export type FinishedShrink =
  /** The bucket has the control plane, and nothing was done. */
  | { state: "none" }
  /** A move to this node was called off: the bucket has the control plane. */
  | { state: "called off" }
  /** The control plane is in the file of this node. */
  | { state: "here"; moved: Moved }
  /** The control plane is in a file of another node, or in another file. */
  | { state: "elsewhere"; moved: Moved };

/**
 * Finishes a live move of the bucket's control plane to this node that was killed, or calls it off. Call
 * it before the store is opened. The file is made the primary if the bucket says that the control plane
 * has left for it.
 *
 * @throws {StoreError} `mismatch`: the follower is not what the bucket says; `not_found`: no such bucket;
 * `unavailable`; `refused`: another process has the follower open
 */
export async function finishShrink(options: FinishShrinkOptions): Promise<FinishedShrink> {
  const db = absolute(options.db);
  const follower = absolute(options.follower);
  return await withMark(options.nats, async (bucket, read) => {
    if (read.marker?.shrink?.node === options.node) {
      const { marker, revision } = read;
      const { shrink } = marker;
      if (!await settle(bucket, { marker: { ...marker, shrink: shrink! }, revision })) {
        await options.blobs?.thaw();
        return { state: "called off" };
      }
      read = await readMarker(bucket, soon());
    }
    const { marker } = read;
    const moved = marker?.moved;
    if (moved === undefined) return { state: "none" };
    const { journey = "", generation = 0 } = marker!;
    if (!isKept(db, follower, journey)) return { state: "elsewhere", moved };
    const storeId = marker!.source ?? knownOf(follower)!.storeId;
    const becomes: Becomes = { moved, journey, generation, storeId };
    take(db, follower, becomes);
    place(db, follower, journey);
    return { state: "here", moved };
  });
}

/**
 * Calls off a live move out of a bucket that was begun and is not decided, from any node: its writers go
 * on, and the process that moves it cannot decide it any more.
 *
 * @returns Whether there was one
 * @throws {StoreError} `refused`: it is decided, the control plane has left; `unavailable`; `not_found`
 */
export async function callOffShrink(nats: JetStreamOptions): Promise<boolean> {
  return await withMark(nats, async (bucket, { marker, revision }) => {
    const shrink = marker?.shrink;
    if (shrink === undefined) {
      if (marker?.moved !== undefined) throw decided(bucket, marker.moved);
      await thawWriters(bucket, soon());
      return false;
    }
    if (!await settle(bucket, { marker: { ...marker!, shrink }, revision })) return true;
    throw decided(bucket, (await readMarker(bucket, soon())).marker!.moved!);
  });
}

function decided({ name }: Bucket, { node, at }: Moved): StoreError {
  return new StoreError(
    "refused",
    `Calling off the move of bucket ${name}: its control plane moved to node ${node} at ${at}`,
    { field: "moved", hint: "membershipd grow moves it back" },
  );
}

async function withMark<T>(
  nats: JetStreamOptions,
  work: (bucket: Bucket, read: { marker: Marker | null; revision: number }) => Promise<T>,
): Promise<T> {
  const { bucket, end } = await openBucket({ ...nats, create: false, resize: false });
  try {
    return await work(bucket, await readMarker(bucket, soon()));
  } finally {
    await end();
  }
}
