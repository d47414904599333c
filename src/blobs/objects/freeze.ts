/**
 * Stops all writers of a bucket of blobs at the server, and lets them go on.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import type { Connection } from "../../nats/connection/connect.ts";
import { updateStream } from "../../jetstream/log/wire.ts";
import { ObjectSubjects } from "./format.ts";
import { listMessages } from "./list.ts";
import { ObjectStream } from "./stream.ts";

/** The bucket of blobs whose writers are stopped. */
export interface FreezeBlobsOptions {
  /** The connection. */
  connection: Connection;
  /** The bucket. Default `UNIBUS_BLOBS`. */
  bucket?: string;
  /** Milliseconds until it is given up. Default 5,000. */
  timeout?: number;
}

/**
 * Stops all writers of a bucket of blobs: nothing is put or deleted until {@link thawObjectBlobs}. When
 * this fails it is not known whether they are stopped.
 */
export async function freezeObjectBlobs(options: FreezeBlobsOptions): Promise<void> {
  await change(options, ({ frozen }) => [frozen]);
}

/** Lets the writers of a bucket of blobs go on. */
export async function thawObjectBlobs(options: FreezeBlobsOptions): Promise<void> {
  await change(options, ({ chunks, metas }) => [chunks, metas]);
}

/**
 * Returns the blobs that were put, given holders or deleted after a position in the bucket, and the
 * position up to which this was looked at: 0 before the first.
 */
export async function changedObjectBlobs(
  { connection, bucket = "UNIBUS_BLOBS", timeout = 5000 }: FreezeBlobsOptions,
  after: number,
): Promise<{ ids: string[]; position: number }> {
  const stream = new ObjectStream(connection as NatsConnection, bucket);
  const ids = new Set<string>();
  let position = after;
  for await (
    const { subject, sequence } of listMessages(stream, after + 1, {
      opTimeout: timeout,
      check: () => {},
    })
  ) {
    position = sequence;
    const id = stream.subjects.nameOf(subject);
    if (/^[0-9a-f]{64}$/.test(id)) ids.add(id);
  }
  return { ids: [...ids], position };
}

async function change(
  { connection, bucket = "UNIBUS_BLOBS", timeout = 5000 }: FreezeBlobsOptions,
  to: (subjects: ObjectSubjects) => string[],
): Promise<void> {
  const known = new ObjectSubjects(bucket);
  const nc = connection as NatsConnection;
  const deadline = Date.now() + timeout;
  await updateStream(nc, known.stream, { subjects: to(known) }, { deadline });
}
