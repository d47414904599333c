/**
 * Reads the status of a cluster: its nodes, its buckets, and problems.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError, type StoreError } from "../../core/errors.ts";
import type { BucketStatus, ClusterNode, ClusterStatus } from "../../core/operations.ts";
import type { Connection } from "../../nats/connection/connect.ts";
import { archiveOf } from "../history/archive.ts";
import { quorumAge } from "../log/stream.ts";
import { copiesOf, isWhole, type StreamInfo } from "./copies.ts";
import { findStream } from "../log/wire.ts";
import { askNodes, type Nodes } from "./nodes.ts";
import { bucketProblems, fewCopies, nodeProblems } from "./problems.ts";

/** Options of {@link clusterStatus}. */
export interface ClusterStatusOptions {
  /** A connection to the account of the bucket. */
  connection: Connection;
  /**
   * A connection to the system account. Without it only the nodes with copies are known, without
   * their versions, disk sync and quorum.
   */
  system?: Connection | null;
  /** Name of the control plane's bucket. Default `UNIBUS`. */
  bucket?: string;
  /** Name of the bucket with the blobs. Default: the control plane's with the suffix `_BLOBS`. */
  blobsBucket?: string;
  /** Aborts the requests. */
  signal?: AbortSignal;
}

/** The state of the `membershipd` servers that use the cluster. */
export interface Beside {
  /** Whether one of them serves the bucket, which therefore must exist. */
  isServed: boolean;
  /** Their problems. */
  problems: readonly string[];
}

/** A stream of a control plane. */
export interface ControlStream extends Pick<BucketStatus, "bucket" | "holds"> {
  /** The stream's name. */
  stream: string;
}

/** Returns the names of a control plane's buckets and their streams, each after those it reads from. */
export function streamsOf(
  bucket: string,
  blobsBucket: string = `${bucket}_BLOBS`,
): ControlStream[] {
  const { stream: history } = archiveOf(bucket);
  return [
    { bucket, stream: `KV_${bucket}`, holds: "control plane" },
    { bucket: history, stream: history, holds: "history" },
    { bucket: blobsBucket, stream: `OBJ_${blobsBucket}`, holds: "blobs" },
  ];
}

/** A leader that has not heard from a majority for this long is reported, milliseconds. */
const STALE_MS = 5_000;
/** Timeout of a request with its retries in milliseconds. */
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

/**
 * Like {@link clusterStatus}, with the result of `beside`, which gets the names of the reachable
 * nodes.
 */
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
  streams.forEach((it, i) => {
    const { bucket, holds } = it;
    const info = found[i] ?? null;
    if (info === null && holds === "history" && !isArchived(found[0])) return;
    if (info === null && quorum?.ok !== false) {
      // A server creates all buckets; without one, the blobs' bucket may not exist yet.
      if (holds !== "blobs" || others.isServed) problems.push(missing(it, others.isServed));
    } else if (info === null || isStoreError(info)) {
      // Without a majority, a node that answers "not found" does not know.
      problems.push(`${bucket}: no leader answers; a majority of its copies is missing`);
      buckets.push(bucketOf(it, null, known));
    } else {
      if (quorumAge(info) > STALE_MS) {
        problems.push(`${bucket}: its leader cannot reach a majority of the copies`);
      }
      buckets.push(bucketOf(it, info, known));
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

/** Returns an error that becomes part of the status; throws others. */
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

/** Whether the stream of a control plane takes entries of the history; not with `history: false`. */
function isArchived(info: StreamInfo | StoreError | null | undefined): boolean {
  return !isStoreError(info) && (info?.config.subjects?.length ?? 0) > 1;
}

function missing({ bucket, holds }: ControlStream, isServed: boolean): string {
  if (holds === "history") {
    return `Stream ${bucket} does not exist: the history is lost, and what is added now is kept for ` +
      "7 days only; restart a membershipd, which makes it anew";
  }
  return isServed
    ? `Bucket ${bucket} does not exist, but a running membershipd serves it: it was deleted, or ` +
      "its only copy is lost; stop all nodes and restore a snapshot"
    : `Bucket ${bucket} does not exist; a control plane that is in a file moves into it by ` +
      "membershipd cluster plan and grow, or migrate-to-kv";
}

/** Returns the status of a bucket; `info` is null if no leader answers. */
function bucketOf(
  { bucket, holds }: ControlStream,
  info: StreamInfo | null,
  nodes: Nodes | null,
): BucketStatus {
  const isReachable = (name: string) => nodes?.nodes.find((it) => it.name === name)?.reachable;
  const copies = info === null ? [] : copiesOf(info).map((copy) => ({
    ...copy,
    node: copy.node === "" ? nodes?.nodes[0]?.name ?? "" : copy.node,
    // The stream's leader detects an unreachable node later.
    reachable: copy.reachable && isReachable(copy.node) !== false,
  }));
  return {
    bucket,
    holds,
    replicas: info?.config.num_replicas ?? null,
    leader: info?.cluster?.leader ?? null,
    whole: info !== null && isWhole(info) && copies.every((it) => it.reachable),
    copies,
    messages: info?.state.messages ?? null,
    bytes: info?.state.bytes ?? null,
    ...holds === "history" && { behind: info?.sources?.[0]?.lag ?? null },
  };
}

/** Lists the nodes that have copies, for use without the system account. */
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
