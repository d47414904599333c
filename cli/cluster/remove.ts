/**
 * `cluster remove`
 *
 * @module
 */

import { StoreError } from "../../src/errors.ts";
import { command, type CommandUnknownOpts, type Context } from "../command.ts";
import { UsageError } from "../failure.ts";
import { print, printJson } from "../output.ts";
import { reach } from "./connect.ts";
import { withCluster } from "./flags.ts";
import { askNodes, removeNode } from "./nodes.ts";

/** How long a change of the members may take, milliseconds: another may be under way. */
const PATIENCE_MS = 30_000;

/** Makes the command. */
export function removeCommand(context: Context): CommandUnknownOpts {
  return withCluster(
    command(
      context,
      "remove",
      "Take a node that is gone for good out of a cluster, so that it no longer counts for the " +
        "quorum; what it had copies of is copied anew to a node that has room. Not needed where an " +
        "empty node of the same name takes its place",
      [
        "membershipd cluster remove n3 --nats-url nats://n1:4250 --service-keys keys.json",
      ],
    ).argument("<node>", "its name, as cluster status shows it"),
  ).action(async (node, flags) => {
    const { signal } = context.io;
    await using it = await reach(context, flags);
    if (it.system === null) {
      throw new UsageError("It needs the system account: --service-keys or --system-seed-file");
    }
    const { nodes, size, needed } = await askNodes(it.system);
    const found = nodes.find(({ name }) => name === node);
    if (found === undefined) {
      const names = nodes.map(({ name }) => name).join(", ");
      throw new StoreError("not_found", `No node ${node} in the cluster; its nodes are ${names}`);
    }
    if (found.reachable) {
      throw new StoreError("refused", `${node} runs; stop it first, and do not start it again`);
    }
    if (nodes.filter(({ reachable }) => reachable).length < needed) {
      throw new StoreError("unavailable", `Removing ${node}: the cluster has no quorum for it`);
    }
    await removeNode(it.system, node, Date.now() + PATIENCE_MS, signal);
    if (flags.json) return await printJson(context, { removed: node, size: size - 1 });
    await print(context, `removed ${node}; the cluster has ${size - 1} nodes`);
  });
}
