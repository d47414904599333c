/**
 * How a cluster does: its nodes, its buckets, and what is wrong.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError } from "../../src/errors.ts";
import { copiesOf, findStream, isWhole, type StreamInfo } from "../../src/jetstream/cluster.ts";
import { quorumAge } from "../../src/jetstream/stream.ts";
import type { BucketStatus, ClusterNode, ClusterStatus } from "../../src/operations.ts";
import { askNodes, type Nodes } from "./nodes.ts";

/** Where the blobs of a bucket's control plane are. */
export function streamsOf(bucket: string): { bucket: string; stream: string; blobs: boolean }[] {
  const blobs = `${bucket}_BLOBS`;
  return [
    { bucket, stream: `KV_${bucket}`, blobs: false },
    { bucket: blobs, stream: `OBJ_${blobs}`, blobs: true },
  ];
}

/** How long a leader may not have heard from a majority, milliseconds. */
const STALE_MS = 5_000;
/** How long one look may take, milliseconds. */
const LOOK_MS = 3_000;

/** Looks at a cluster. What cannot be found out is told as a problem, not thrown. */
export async function clusterStatus(
  service: NatsConnection,
  system: NatsConnection | null,
  bucket: string,
  signal: AbortSignal,
): Promise<ClusterStatus> {
  const problems: string[] = [];
  const tell = (error: unknown): null => {
    if (!isStoreError(error) || error.code === "aborted") throw error;
    problems.push(error.message);
    return null;
  };
  const [nodes, ...found] = await Promise.all([
    system === null ? null : askNodes(system).catch(tell),
    ...streamsOf(bucket).map(({ stream }) =>
      findStream(service, stream, Date.now() + LOOK_MS, signal).catch(tell)
    ),
  ]);
  const buckets = streamsOf(bucket).flatMap((it, i): BucketStatus[] => {
    const info = found[i] ?? null;
    // A bucket that is not there is no trouble by itself: none may have been made yet.
    return info === null ? [] : [bucketOf(it.bucket, it.blobs, info, nodes)];
  });
  found.forEach((info, i) => {
    if (info && quorumAge(info) > STALE_MS) {
      problems.push(`${streamsOf(bucket)[i]!.bucket}: its leader hears no majority of the copies`);
    }
  });
  problems.push(...nodes === null ? [] : nodeProblems(nodes), ...buckets.flatMap(bucketProblems));
  const reachable = nodes?.nodes.filter((it) => it.reachable).length ?? 0;
  return {
    cluster: nodes?.cluster ?? null,
    healthy: problems.length === 0,
    quorum: nodes === null ? null : {
      ok: reachable >= nodes.needed && (nodes.cluster === null || nodes.leader !== null),
      size: nodes.size,
      reachable,
      needed: nodes.needed,
    },
    nodes: nodes?.nodes ?? nodesOf(buckets),
    buckets,
    problems,
  };
}

function bucketOf(
  bucket: string,
  blobs: boolean,
  info: StreamInfo,
  nodes: Nodes | null,
): BucketStatus {
  const isReachable = (name: string) => nodes?.nodes.find((it) => it.name === name)?.reachable;
  const copies = copiesOf(info).map((it) => ({
    ...it,
    node: it.node === "" ? nodes?.nodes[0]?.name ?? "" : it.node,
    // The stream's leader notices later than the node itself does not answer.
    reachable: it.reachable && isReachable(it.node) !== false,
  }));
  return {
    bucket,
    holds: blobs ? "blobs" : "control plane",
    replicas: info.config.num_replicas,
    leader: info.cluster?.leader ?? null,
    whole: isWhole(info) && copies.every((it) => it.reachable),
    copies,
    messages: info.state.messages,
    bytes: info.state.bytes,
  };
}

function nodeProblems({ nodes, cluster, leader, size, needed }: Nodes): string[] {
  const reachable = nodes.filter((it) => it.reachable);
  const versions = new Set(reachable.map((it) => it.version));
  return [
    ...reachable.length < needed
      ? [`No quorum: ${reachable.length} of ${size} nodes are reachable, ${needed} are needed`]
      : cluster !== null && leader === null
      ? ["The cluster has no leader now"]
      : [],
    ...nodes.filter((it) => !it.reachable).map(({ name }) =>
      `${name} is not reachable; start it, or an empty node of the same name in its place`
    ),
    ...reachable.filter((it) => it.syncs === false).map(({ name }) =>
      `${name} acknowledges before it syncs to disk; set sync_interval: always`
    ),
    ...versions.size > 1
      ? [
        `The nodes run different versions (${[...versions].sort().join(", ")}); finish the upgrade`,
      ]
      : [],
  ];
}

function bucketProblems({ bucket, copies, replicas, whole }: BucketStatus): string[] {
  if (whole) return [];
  const late = copies.filter((it) => !it.current || !it.reachable).map((it) => it.node);
  const current = copies.length - late.length;
  return [
    `${bucket}: ${current} of ${replicas} copies are current` +
    (late.length === 0 ? "" : `, not ${late.join(", ")}`),
  ];
}

/** Without the system account: what the copies tell. */
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
