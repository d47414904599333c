/**
 * The status of a cluster, with that of the `membershipd` beside each node.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import type { ClusterStatus } from "../../src/core/operations.ts";
import { statusWith } from "../../src/jetstream/cluster/status.ts";
import { askPresence, presenceProblems } from "./presence.ts";

/** Reads it. What cannot be read is reported as a problem. */
export function fullStatus(
  connection: NatsConnection,
  system: NatsConnection | null,
  bucket: string,
  signal: AbortSignal,
): Promise<ClusterStatus> {
  return statusWith({ connection, system, bucket, signal }, async (running) => {
    const present = await askPresence(connection, running);
    return {
      isServed: present.some((it) => it.bucket === bucket),
      problems: presenceProblems(present, running, bucket),
    };
  });
}
