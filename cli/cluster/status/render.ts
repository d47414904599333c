/**
 * A cluster's status for people.
 *
 * @module
 */

import { printable } from "../../terminal/output.ts";
import type { ClusterNode, ClusterStatus } from "../../../src/core/operations.ts";

/** The lines that show it. */
export function render(status: ClusterStatus): string[] {
  const { cluster, quorum, nodes, buckets, problems } = status;
  const name = cluster ?? (quorum === null ? "not known" : "none, one server by itself");
  const enough = quorum === null
    ? "not known: --service-keys or --system-seed-file tells of the nodes"
    : `${quorum.ok ? "yes" : "NO"}, ${quorum.reachable} of ${quorum.size} nodes, ` +
      `${quorum.needed} needed`;
  return [
    `cluster  ${printable(name)}`,
    `quorum   ${enough}`,
    "",
    ...table([["NODE", "VERSION", "REACHABLE", "ROLE", "FSYNC"], ...nodes.map(rowOf)]),
    "",
    ...buckets.length === 0 ? ["no bucket"] : table([
      ["BUCKET", "COPIES", "ON", "CURRENT", "LAG", "MESSAGES", "BYTES"],
      ...buckets.flatMap((it) =>
        it.replicas === null
          ? [[it.bucket, "-", "not known", "-", "-", "-", "-"]]
          : it.copies.map((copy, i) => [
            i === 0 ? it.bucket : "",
            i === 0 ? String(it.replicas) : "",
            copy.node === ""
              ? "-"
              : copy.leads && cluster !== null
              ? `${copy.node} leads`
              : copy.node,
            copy.current && copy.reachable ? "yes" : "NO",
            String(copy.lag),
            i === 0 ? String(it.messages ?? "-") : "",
            i === 0 ? String(it.bytes ?? "-") : "",
          ])
      ),
    ]),
    "",
    ...problems.length === 0 ? ["healthy"] : problems.map((it) => `problem  ${printable(it)}`),
  ];
}

function rowOf({ name, version, reachable, leads, current, syncs }: ClusterNode): string[] {
  const role = leads ? "leader" : current === false ? "behind" : current ? "current" : "-";
  const fsync = syncs === null ? "-" : syncs ? "always" : "LATER";
  return [name, version ?? "-", reachable ? "yes" : "NO", role, fsync];
}

function table(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((it, i) => printable(it).padEnd(widths[i]!)).join("  ").trimEnd()
  );
}
