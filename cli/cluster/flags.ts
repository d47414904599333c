/**
 * What the commands about a cluster have in common on the command line.
 *
 * @module
 */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import { withJson, withNats } from "../command.ts";
import type { ClusterFlags } from "./reach/connect.ts";

/** Where the cluster is, and who we are there. */
export function withCluster<A extends unknown[], O extends OptionValues>(
  it: Command<A, O>,
): Command<A, O & ClusterFlags & { json?: true }> {
  it.option(
    "--system-seed-file <file>",
    "seed of a user in the system account, which knows the nodes; --service-keys has it as well",
  );
  const all = withJson(withNats(it, { required: true }));
  return all as unknown as Command<A, O & ClusterFlags & { json?: true }>;
}
