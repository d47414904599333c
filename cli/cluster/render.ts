/**
 * Formats a cluster's status as text.
 *
 * @module
 */

import { printable } from "../terminal/output.ts";
import type { ClusterNode, ClusterStatus } from "../../src/core/operations.ts";
import { counted } from "../../src/core/text/counted.ts";

/** Formats a status as lines. */
export function render(status: ClusterStatus): string[] {
  const { cluster, quorum, nodes, buckets, problems } = status;
  const name = cluster ?? (quorum === null ? "unknown" : "none (standalone server)");
  const enough = quorum === null
    ? "unknown: use --service-keys or --system-seed-file to see the nodes"
    : `${quorum.ok ? "yes" : "NO"}, ${quorum.reachable} of ${counted(quorum.size, "node")}, ` +
      `${quorum.needed} required`;
  return [
    `cluster  ${printable(name)}`,
    `quorum   ${enough}`,
    "",
    ...table([["NODE", "VERSION", "REACHABLE", "ROLE", "FSYNC", "FOLLOWER"], ...nodes.map(rowOf)]),
    "",
    ...buckets.length === 0 ? ["no bucket"] : table([
      ["BUCKET", "COPIES", "ON", "CURRENT", "LAG", "MESSAGES", "BYTES"],
      ...buckets.flatMap((it) =>
        it.replicas === null
          ? [[it.bucket, "-", "unknown", "-", "-", "-", "-"]]
          : it.copies.map((copy, i) => [
            i === 0 ? it.bucket : "",
            i === 0 ? String(it.replicas) : "",
            copy.node === ""
              ? "-"
              : copy.leads && cluster !== null
              ? `${copy.node} (leader)`
              : copy.node,
            copy.current && copy.reachable ? "yes" : "NO",
            String(copy.lag),
            i === 0 ? `${it.messages ?? "-"}${it.behind ? ` (${it.behind} behind)` : ""}` : "",
            i === 0 ? String(it.bytes ?? "-") : "",
          ])
      ),
    ]),
    "",
    ...problems.length === 0 ? ["healthy"] : problems.map((it) => `problem  ${printable(it)}`),
  ];
}

function rowOf(
  { name, version, reachable, leads, current, syncs, follower }: ClusterNode,
): string[] {
  const role = leads ? "leader" : current === false ? "behind" : current ? "current" : "-";
  const fsync = syncs === null ? "-" : syncs ? "always" : "LATER";
  return [name, version ?? "-", reachable ? "yes" : "NO", role, fsync, showFollower(follower)];
}

function showFollower(follower: ClusterNode["follower"]): string {
  if (follower == null) return "-";
  const { position, lag, exact, alarm, degraded, history } = follower;
  if (alarm !== null) return "ALARM";
  return [
    `${exact ? "" : "not exact "}at ${position}`,
    ...lag === null ? [] : [`${lag} behind`],
    ...history?.lag ? [`history ${history.lag} behind`] : [],
    ...degraded === null ? [] : ["DEGRADED"],
  ].join(", ");
}

function table(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((it, i) => printable(it).padEnd(widths[i]!)).join("  ").trimEnd()
  );
}
