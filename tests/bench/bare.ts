/**
 * The baselines: what the same bytes cost through the vendor's library alone.
 *
 * @module
 */

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { connect, type NatsConnection } from "@nats-io/transport-node";

/** A key and a value. */
export type Pair = readonly [key: string, value: string];

/** Most messages of a batch. */
const BATCH = 1000;
const IN_FLIGHT = 4;

/** A connection of the library's own making. */
export function bareConnection(servers: string | string[]): Promise<NatsConnection> {
  return connect({ servers });
}

/** A bucket of the library's own making. */
export function bareBucket(nc: NatsConnection, name: string, replicas = 1): Promise<KV> {
  return new Kvm(nc).create(name, { replicas, history: 1 });
}

/** A bucket whose stream takes atomic batches. */
export async function batchBucket(nc: NatsConnection, name: string, replicas = 1): Promise<KV> {
  const kv = await bareBucket(nc, name, replicas);
  const jsm = await jetstreamManager(nc);
  const { config } = await jsm.streams.info(`KV_${name}`);
  await jsm.streams.update(`KV_${name}`, { ...config, allow_atomic: true });
  return kv;
}

/** One awaited put after another. */
export async function putAll(kv: KV, pairs: Pair[]): Promise<void> {
  for (const [key, value] of pairs) await kv.put(key, value);
}

/** One atomic batch of all pairs. */
export async function putBatch(nc: NatsConnection, bucket: string, pairs: Pair[]): Promise<void> {
  const subject = (key: string) => `$KV.${bucket}.${key}`;
  const [first, ...rest] = pairs;
  const last = rest.pop()!;
  const batch = await jetstream(nc).startBatch(subject(first![0]), first![1]);
  for (const [key, value] of rest) batch.add(subject(key), value);
  await batch.commit(subject(last[0]), last[1]);
}

/** Atomic batches of 1,000, four in flight. */
export async function putBatches(
  nc: NatsConnection,
  bucket: string,
  pairs: Pair[],
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < pairs.length) {
      const from = next;
      next += BATCH;
      await putBatch(nc, bucket, pairs.slice(from, next));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}
