/**
 * `cluster status`
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { EXIT } from "../../terminal/failure.ts";
import { print, printable, printJson } from "../../terminal/output.ts";
import { reach, withCluster } from "./connect.ts";
import { fullStatus } from "../../cluster/status.ts";
import type { ClusterNode, ClusterStatus } from "../../../src/core/operations.ts";
import { counted } from "../../../src/core/text/counted.ts";

/** Between two looks of `--watch`. */
const INTERVAL_MS = 2000;

/** Creates the command. */
export function statusCommand(context: Context): CommandUnknownOpts {
  return withCluster(
    command(
      context,
      "status",
      "Show the status of a cluster: nodes with version and fsync, quorum, and the copies of the " +
        "control plane and the blobs with leader and lag. Exits with code 1 if there is a problem",
      [
        "membershipd cluster status",
        "membershipd cluster status --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
        "membershipd cluster status --nats-url tls://n1:4250,tls://n2:4250 --service-keys keys.json --watch",
        "membershipd cluster status --nats-url nats://n1:4250 --service-keys keys.json --json | jq .problems",
      ],
    )
      .option("--watch", "refresh until Ctrl-C; with --json print one line each time"),
  ).action(async (flags) => {
    const { io } = context;
    const { json, watch } = flags;
    await using it = await reach(context, flags);
    const look = () => fullStatus(it.service, it.system, it.bucket, io.signal);
    if (!watch) {
      const status = await look();
      if (!status.healthy) context.exitCode = EXIT.failed;
      return json ? await printJson(context, status) : await print(context, ...render(status));
    }
    while (!io.signal.aborted) {
      const status = await look().catch((error) => {
        if (io.signal.aborted) return null;
        throw error;
      });
      if (status === null) break;
      const at = new Date().toISOString();
      if (json) await print(context, JSON.stringify({ at, ...status }));
      else {
        // On a terminal, replace the previous state; elsewhere, append.
        if (io.stdout.isTTY) await io.stdout.write("\x1b[H\x1b[2J");
        await print(context, at, ...render(status), ...io.stdout.isTTY ? [] : [""]);
      }
      await setTimeout(INTERVAL_MS, null, { signal: io.signal }).catch(() => {});
    }
    // Ctrl-C is the normal end.
  });
}

/** Formats a status as lines. */
function render(status: ClusterStatus): string[] {
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
