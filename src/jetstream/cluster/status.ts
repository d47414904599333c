/**
 * The status of a cluster: its nodes, its buckets, and what is wrong.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError, type StoreError } from "../../core/errors.ts";
import type { BucketStatus, ClusterNode, ClusterStatus } from "../../core/operations.ts";
import type { Connection } from "../../nats/connection/connect.ts";
import { quorumAge } from "../log/stream.ts";
import { copiesOf, findStream, isWhole, type StreamInfo } from "./copies.ts";
import { askNodes, type Nodes } from "./nodes.ts";
import { bucketProblems, fewCopies, nodeProblems } from "./problems.ts";

/** What {@link clusterStatus} takes. */
export interface ClusterStatusOptions {
  /** A connection in the account of the bucket. */
  connection: Connection;
  /**
   * A connection in the system account. Without it the nodes are known only by the copies they have:
   * not their versions, whether they sync to disk, or whether they are a quorum.
   */
  system?: Connection | null;
  /** Name of the control plane's bucket. Default `UNIBUS`. */
  bucket?: string;
  /** Name of the bucket with the blobs. Default: the control plane's, followed by `_BLOBS`. */
  blobsBucket?: string;
  /** Ends the requests. */
  signal?: AbortSignal;
}

/** What is known of the servers that use the cluster, beside its own nodes. */
export interface Beside {
  /** Whether one of them serves this bucket, so that it must exist. */
  isServed: boolean;
  /** What is wrong with them. */
  problems: readonly string[];
}

/** Names of the buckets of a control plane, and of their streams. */
export function streamsOf(
  bucket: string,
  blobsBucket: string = `${bucket}_BLOBS`,
): { bucket: string; stream: string; blobs: boolean }[] {
  return [
    { bucket, stream: `KV_${bucket}`, blobs: false },
    { bucket: blobsBucket, stream: `OBJ_${blobsBucket}`, blobs: true },
  ];
}

/** A leader that has not heard from a majority for this long is reported, milliseconds. */
const STALE_MS = 5_000;
/** How long one request may take with its retries, milliseconds. */
const LOOK_MS = 3_000;

/**
 * Reads the status of the cluster that a bucket is in, or of a single server. Pass it to
 * `createControlPlane` as `cluster`, for `/v1/status` and the console. What cannot be read is reported
 * as a problem.
 *
 * @param options How the cluster is reached
 * @returns Its nodes, its buckets, and problems with what to do
 * @throws {StoreError} `aborted`: the signal was aborted
 *
 * @example
 * ```ts ignore
 * import { clusterStatus, openJetStream } from "@unibus/membership";
 * import { createControlPlane } from "@unibus/membership/http";
 *
 * await using store = await openJetStream({ connection });
 * const plane = createControlPlane(store, {
 *   cluster: () => clusterStatus({ connection, system }),
 * });
 * ```
 */
export function clusterStatus(options: ClusterStatusOptions): Promise<ClusterStatus> {
  return statusWith(options, () => Promise.resolve({ isServed: false, problems: [] }));
}

/** The same, with what `beside` finds; it is given the names of the nodes that are reachable. */
export async function statusWith(
  { connection, system, bucket = "UNIBUS", blobsBucket, signal }: ClusterStatusOptions,
  beside: (running: readonly string[]) => Promise<Beside>,
): Promise<ClusterStatus> {
  const problems: string[] = [];
  const streams = streamsOf(bucket, blobsBucket);
  const [nodes, ...found] = await Promise.all([
    system ? askNodes(system as NatsConnection).catch(failure) : null,
    ...streams.map(({ stream }) =>
      findStream(connection as NatsConnection, stream, Date.now() + LOOK_MS, signal).catch(failure)
    ),
  ]);
  const known = isStoreError(nodes) ? null : nodes;
  if (isStoreError(nodes)) problems.push(nodes.message);
  const running = known?.nodes.filter((it) => it.reachable).map((it) => it.name) ?? [];
  const others = await beside(running);
  const quorum = known === null ? null : quorumOf(known);
  const buckets: BucketStatus[] = [];
  streams.forEach(({ bucket, blobs }, i) => {
    const info = found[i] ?? null;
    if (info === null && quorum?.ok !== false) {
      // Those who serve make both; blobs may not have been made before.
      if (!blobs || others.isServed) problems.push(missing(bucket, others.isServed));
    } else if (info === null || isStoreError(info)) {
      // Without a majority a node that reports no such bucket may be wrong.
      problems.push(`${bucket}: no leader answers for it; a majority of its copies is missing`);
      buckets.push(bucketOf(bucket, blobs, null, known));
    } else {
      if (quorumAge(info) > STALE_MS) {
        problems.push(`${bucket}: its leader hears no majority of the copies`);
      }
      buckets.push(bucketOf(bucket, blobs, info, known));
      problems.push(...fewCopies(bucket, info, known));
    }
  });
  problems.push(
    ...known === null ? [] : nodeProblems(known, buckets),
    ...known === null ? [] : others.problems,
    ...buckets.flatMap(bucketProblems),
  );
  return {
    cluster: known?.cluster ?? null,
    healthy: problems.length === 0,
    quorum,
    nodes: known?.nodes ?? nodesOf(buckets),
    buckets,
    problems,
  };
}

/** An error that is part of the status; others are thrown. */
function failure(error: unknown): StoreError {
  if (!isStoreError(error) || error.code === "aborted") throw error;
  return error;
}

function quorumOf({ nodes, size, needed, cluster, leader }: Nodes): ClusterStatus["quorum"] {
  const reachable = nodes.filter((it) => it.reachable).length;
  return {
    ok: reachable >= needed && (cluster === null || leader !== null),
    size,
    reachable,
    needed,
  };
}

function missing(bucket: string, isServed: boolean): string {
  return isServed
    ? `There is no bucket ${bucket}, and a running membershipd serves it: it was deleted, or its ` +
      "only copy is lost; stop all nodes and restore a snapshot"
    : `There is no bucket ${bucket}`;
}

/** The status of a bucket; `null`: no leader responds. */
function bucketOf(
  bucket: string,
  blobs: boolean,
  info: StreamInfo | null,
  nodes: Nodes | null,
): BucketStatus {
  const isReachable = (name: string) => nodes?.nodes.find((it) => it.name === name)?.reachable;
  const copies = info === null ? [] : copiesOf(info).map((copy) => ({
    ...copy,
    node: copy.node === "" ? nodes?.nodes[0]?.name ?? "" : copy.node,
    // The stream's leader notices later than the node itself does not answer.
    reachable: copy.reachable && isReachable(copy.node) !== false,
  }));
  return {
    bucket,
    holds: blobs ? "blobs" : "control plane",
    replicas: info?.config.num_replicas ?? null,
    leader: info?.cluster?.leader ?? null,
    whole: info !== null && isWhole(info) && copies.every((it) => it.reachable),
    copies,
    messages: info?.state.messages ?? null,
    bytes: info?.state.bytes ?? null,
  };
}

/** Without the system account: the nodes that have copies. */
function nodesOf(buckets: readonly BucketStatus[]): ClusterNode[] {
  const names = new Set(
    buckets.flatMap((it) => it.copies.map(({ node }) => node)).filter((it) => it !== ""),
  );
  return [...names].sort().map((name): ClusterNode => ({
    name,
    version: null,
    reachable: buckets.every((it) => it.copies.every((it) => it.node !== name || it.reachable)),
    leads: false,
    current: null,
    syncs: null,
  }));
}
