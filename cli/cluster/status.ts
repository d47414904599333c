/**
 * The status of a cluster, with that of the `membershipd` beside each node.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import type { ClusterStatus } from "../../src/core/operations.ts";
import { statusWith } from "../../src/jetstream/cluster/status.ts";
import { askPresence, type Presence, presenceProblems } from "./presence.ts";

/** Reads it. What cannot be read is reported as a problem. */
export async function fullStatus(
  connection: NatsConnection,
  system: NatsConnection | null,
  bucket: string,
  signal: AbortSignal,
): Promise<ClusterStatus> {
  let present: Presence[] = [];
  const of = { connection, system, bucket, signal };
  const status = await statusWith(of, async (running) => {
    present = await askPresence(connection, running);
    return {
      isServed: present.some((it) => it.bucket === bucket),
      problems: presenceProblems(present, running, bucket),
    };
  });
  const nodes = status.nodes.map((it) => {
    const { follower = null, version: program = null } = present.find(({ node }) =>
      node === it.name
    ) ?? {};
    return { ...it, program, follower: follower && { degraded: null, ...follower } };
  });
  return { ...status, nodes };
}
