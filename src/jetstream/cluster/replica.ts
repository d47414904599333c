/**
 * Single replicas: each server of a cluster keeps its own copy of the stream on its own disk.
 *
 * A direct get cannot be sent to a replica: the server that is asked chooses among all of them. A
 * consumer with one replica reads that of the server it is placed on, and says which that is.
 *
 * @module
 */

import { within } from "../../core/async/wait.ts";
import type { Bucket } from "../log/bucket.ts";
import { Feed } from "../log/feed.ts";
import { writeFence } from "../log/fence.ts";

/** How long the write may take, and how long it may take to arrive, milliseconds. */
const PATIENCE = 5000;

/** Writes a fence, and waits until a server's own replica holds it; returns `false` if it does not soon. */
export async function takesWrites(bucket: Bucket, server: string): Promise<boolean> {
  return await holds(bucket, server, await writeFence(bucket, Date.now() + PATIENCE));
}

/**
 * Waits until a server's own replica holds a message, or a later one; returns `false` if it does not soon.
 *
 * @param stream Another stream on the bucket's connection. Default: that of the bucket
 */
export async function holds(
  bucket: Bucket,
  server: string,
  start: number,
  stream?: string,
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const feed = new Feed(bucket, {
    pattern: null,
    start,
    piece: 1,
    server,
    stream,
    onEntry: () => resolve(true),
    onEnd: () => resolve(false),
  });
  try {
    return await within(PATIENCE, feed.start().then(() => promise), () => false);
  } finally {
    feed.stop();
  }
}
