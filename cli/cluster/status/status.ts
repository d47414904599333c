/**
 * How a cluster does: its nodes, its buckets, and what is wrong.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError } from "../../../src/core/errors.ts";
import {
  copiesOf,
  findStream,
  isWhole,
  type StreamInfo,
} from "../../../src/jetstream/cluster/copies.ts";
import { quorumAge } from "../../../src/jetstream/log/stream.ts";
import type { BucketStatus, ClusterNode, ClusterStatus } from "../../../src/core/operations.ts";
import { askNodes, type Nodes } from "../reach/nodes.ts";
import { askPresence, presenceProblems } from "../reach/presence.ts";

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
  const streams = streamsOf(bucket);
  const [nodes, ...found] = await Promise.all([
    system === null ? null : askNodes(system).catch(tell),
    ...streams.map(({ stream }) =>
      findStream(service, stream, Date.now() + LOOK_MS, signal).catch((error) => {
        if (!isStoreError(error) || error.code === "aborted") throw error;
        return error;
      })
    ),
  ]);
  const running = nodes?.nodes.filter((it) => it.reachable).map((it) => it.name) ?? [];
  const present = await askPresence(service, running);
  const quorum = nodes === null ? null : quorumOf(nodes);
  const isServed = present.some((it) => it.bucket === bucket);
  const buckets: BucketStatus[] = [];
  streams.forEach((it, i) => {
    const info = found[i] ?? null;
    if (info === null && quorum?.ok !== false) {
      // Those who serve make both; blobs may not have been made before.
      if (!it.blobs) problems.push(missing(it.bucket, isServed));
      else if (isServed) problems.push(missing(it.bucket, true));
    } else if (info === null || isStoreError(info)) {
      // Without a majority "there is none" is the word of a node that does not know.
      problems.push(`${it.bucket}: no leader answers for it; a majority of its copies is missing`);
      buckets.push(unknownBucket(it.bucket, it.blobs));
    } else {
      if (quorumAge(info) > STALE_MS) {
        problems.push(`${it.bucket}: its leader hears no majority of the copies`);
      }
      buckets.push(bucketOf(it.bucket, it.blobs, info, nodes));
      problems.push(...fewCopies(it.bucket, info, nodes));
    }
  });
  problems.push(
    ...nodes === null ? [] : nodeProblems(nodes, buckets),
    ...nodes === null ? [] : presenceProblems(present, running, bucket),
    ...buckets.flatMap(bucketProblems),
  );
  return {
    cluster: nodes?.cluster ?? null,
    healthy: problems.length === 0,
    quorum,
    nodes: nodes?.nodes ?? nodesOf(buckets),
    buckets,
    problems,
  };
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

function unknownBucket(bucket: string, blobs: boolean): BucketStatus {
  return {
    bucket,
    holds: blobs ? "blobs" : "control plane",
    replicas: null,
    leader: null,
    whole: false,
    copies: [],
    messages: null,
    bytes: null,
  };
}

/** How many copies there should be at least, where there are nodes for them. */
const SAFE_COPIES = 3;

/** A stream with fewer copies than it could have is lost with its node, or when that is replaced. */
export function fewCopies(bucket: string, info: StreamInfo, nodes: Nodes | null): string[] {
  const { num_replicas: replicas } = info.config;
  const copies = `${replicas} ${replicas === 1 ? "copy" : "copies"}`;
  if (nodes === null) {
    if (info.cluster?.name === undefined || replicas >= SAFE_COPIES) return [];
    return [`${bucket} has ${copies}; --service-keys tells whether there are nodes for more`];
  }
  const wanted = Math.min(SAFE_COPIES, nodes.size);
  if (replicas >= wanted) return [];
  return [
    `${bucket} has ${copies} on ${nodes.size} nodes: losing or replacing a node can destroy it; ` +
    `membershipd cluster scale --replicas ${wanted}`,
  ];
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

function nodeProblems(
  { nodes, cluster, leader, size, needed }: Nodes,
  buckets: readonly BucketStatus[],
): string[] {
  const reachable = nodes.filter((it) => it.reachable);
  const versions = new Set(reachable.map((it) => it.version));
  return [
    ...reachable.length < needed
      ? [`No quorum: ${reachable.length} of ${size} nodes are reachable, ${needed} are needed`]
      : cluster !== null && leader === null
      ? ["The cluster has no leader now"]
      : [],
    ...nodes.filter((it) => !it.reachable).map(({ name }) =>
      `${name} is not reachable; start it` +
      (buckets.every(isElsewhere)
        ? ", or an empty node of the same name in its place"
        : " on its own directory, which may have the only copy of a bucket")
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

/** Whether a bucket has a current copy on a node that is reachable. */
function isElsewhere({ copies }: BucketStatus): boolean {
  return copies.some((it) => it.current && it.reachable);
}

function bucketProblems({ bucket, copies, replicas, whole }: BucketStatus): string[] {
  if (whole || replicas === null) return [];
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
