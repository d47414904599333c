/**
 * A write that shows whether a bucket takes blobs.
 *
 * @module
 */

import { type NatsConnection, nuid } from "@nats-io/transport-node";
import type { Connection } from "../../nats/connection/connect.ts";
import { ObjectStream } from "./stream.ts";

/** A message that belongs to no blob, removed when it is disposed of. */
export interface BlobProbe extends AsyncDisposable {
  /** Its sequence in the bucket's stream. */
  readonly sequence: number;
}

/** Where {@link writeBlobProbe} writes. */
export interface BlobProbeOptions {
  /** The connection. */
  connection: Connection;
  /** The bucket. */
  bucket: string;
  /** Milliseconds that the write may take. Default 5,000. */
  timeout?: number;
}

/**
 * Stores a chunk that belongs to no blob. What cannot be removed afterwards is removed a day later, like
 * the chunks of a writer that was killed.
 *
 * @throws {Error} It was not stored
 */
export async function writeBlobProbe(
  { connection, bucket, timeout = 5000 }: BlobProbeOptions,
): Promise<BlobProbe> {
  const stream = new ObjectStream(connection as NatsConnection, bucket);
  const id = nuid.next();
  const what = `Writing to bucket ${bucket}`;
  const sequence = await stream.append(id, new Uint8Array(1), timeout, what);
  return {
    sequence,
    async [Symbol.asyncDispose]() {
      await stream.purge(stream.subjects.chunksOf(id), Date.now() + timeout).catch(() => {});
    },
  };
}
