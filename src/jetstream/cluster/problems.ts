/**
 * Describes problems of a cluster's nodes and buckets for operators.
 *
 * @module
 */

import type { BucketStatus } from "../../core/operations.ts";
import { counted } from "../../core/text/counted.ts";
import type { StreamInfo } from "./copies.ts";
import type { Nodes } from "./nodes.ts";

/** A bucket should have this many copies if there are nodes for them. */
const SAFE_COPIES = 3;

/** Reports a stream with fewer copies than possible: it is lost with its node, or if that is replaced. */
export function fewCopies(bucket: string, info: StreamInfo, nodes: Nodes | null): string[] {
  const { num_replicas: replicas } = info.config;
  const copies = counted(replicas, "copy", "copies");
  if (nodes === null) {
    if (info.cluster?.name === undefined || replicas >= SAFE_COPIES) return [];
    return [
      `${bucket} has ${copies}; only the system account (--service-keys) shows whether there are ` +
      "nodes for more",
    ];
  }
  const wanted = Math.min(SAFE_COPIES, nodes.size);
  if (replicas >= wanted) return [];
  return [
    `${bucket} has ${copies} on ${
      counted(nodes.size, "node")
    }: losing or replacing a node can destroy it; run ` +
    `membershipd cluster scale --replicas ${wanted}`,
  ];
}

/** Reports a missing quorum or leader, nodes that do not respond or do not sync, mixed versions. */
export function nodeProblems(
  { nodes, cluster, leader, size, needed }: Nodes,
  buckets: readonly BucketStatus[],
): string[] {
  const reachable = nodes.filter((it) => it.reachable);
  const versions = new Set(reachable.map((it) => it.version));
  return [
    ...reachable.length < needed
      ? [`No quorum: ${reachable.length} of ${counted(size, "node")} reachable, ${needed} required`]
      : cluster !== null && leader === null
      ? ["The cluster has no leader"]
      : [],
    ...nodes.filter((it) => !it.reachable).map(({ name }) =>
      `${name} is not reachable; start it` +
      (buckets.every(isElsewhere)
        ? ", or replace it by an empty node with the same name"
        : " with its own directory, which may contain the only copy of a bucket")
    ),
    ...reachable.filter((it) => it.syncs === false).map(({ name }) =>
      `${name} acknowledges writes before it syncs them to disk; set sync_interval: always`
    ),
    ...versions.size > 1
      ? [
        `The nodes run different versions (${[...versions].sort().join(", ")}); finish the upgrade`,
      ]
      : [],
  ];
}

/** Reports whether a bucket has a current copy on a reachable node. */
function isElsewhere({ copies }: BucketStatus): boolean {
  return copies.some((it) => it.current && it.reachable);
}

/** Reports copies of a bucket that are not current. */
export function bucketProblems({ bucket, copies, replicas, whole }: BucketStatus): string[] {
  if (whole || replicas === null) return [];
  const late = copies.filter((it) => !it.current || !it.reachable).map((it) => it.node);
  const current = copies.length - late.length;
  return [
    `${bucket}: ${current} of ${counted(replicas, "copy", "copies")} current` +
    (late.length === 0 ? "" : `, missing: ${late.join(", ")}`),
  ];
}
