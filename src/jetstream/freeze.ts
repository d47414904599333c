/**
 * Stops all writers of a bucket at the server, and lets them go on: the stream then takes only the keys
 * of `meta`, so no client can write a record or a history entry, whatever its version and whatever it
 * believes.
 *
 * @module
 */

import type { Bucket } from "./log/bucket.ts";
import { writeFence } from "./log/fence.ts";
import { type ReadMarker, writeMarker } from "./log/marker.ts";
import { updateStream } from "./log/wire.ts";

/**
 * Stops all writers, then writes a fence; returns its sequence. Nothing but `meta` is stored behind it.
 * When this fails it is not known whether the writers are stopped.
 */
export async function freezeWriters(bucket: Bucket, deadline: number): Promise<number> {
  const subjects = [bucket.subject("meta.>")];
  await updateStream(bucket.nc, bucket.stream, { subjects }, { deadline });
  return await writeFence(bucket, deadline);
}

/** Lets the writers go on. */
export async function thawWriters(bucket: Bucket, deadline: number): Promise<void> {
  const { nc, stream, subjects } = bucket;
  await updateStream(nc, stream, { subjects }, { deadline });
}

/**
 * Calls off a move out of the bucket: writes the mark, so that the mark of the move can no longer be
 * written, and lets the writers go on. Only a write settles what became of a mark that was sent.
 *
 * @throws {StoreError} conflict: the mark was written meanwhile, for example by the move
 */
export async function callOff(
  bucket: Bucket,
  { marker, revision }: ReadMarker,
  deadline: number,
): Promise<number> {
  const { shrink: _, ...rest } = marker!;
  const written = await writeMarker(bucket, rest, revision, deadline);
  await thawWriters(bucket, deadline);
  return written;
}
