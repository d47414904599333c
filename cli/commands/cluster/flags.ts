/**
 * Flags of the cluster commands.
 *
 * @module
 */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import { withJson, withNats } from "../../command.ts";
import type { ClusterFlags } from "./connect.ts";

/** Adds the flags for connecting to a cluster. */
export function withCluster<A extends unknown[], O extends OptionValues>(
  it: Command<A, O>,
): Command<A, O & ClusterFlags & { json?: true }> {
  it.option(
    "--system-seed-file <file>",
    "seed of a user in the system account, which is needed to list the nodes; also in --service-keys",
  );
  const all = withJson(withNats(it, { required: true }));
  return all as unknown as Command<A, O & ClusterFlags & { json?: true }>;
}
