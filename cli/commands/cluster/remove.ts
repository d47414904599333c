/**
 * `cluster remove`
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../../src/core/errors.ts";
import { counted } from "../../../src/core/text/counted.ts";
import { allCopies } from "../../cluster/copies.ts";
import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { print, printJson } from "../../terminal/output.ts";
import { reach, requireSystem, withCluster } from "./connect.ts";
import { askNodes, removeNode } from "../../../src/jetstream/cluster/nodes.ts";

/** Timeout of a membership change in milliseconds, because another one may be in progress. */
const PATIENCE_MS = 30_000;

/** Creates the command. */
export function removeCommand(context: Context): CommandUnknownOpts {
  return withCluster(
    command(
      context,
      "remove",
      "Remove a permanently lost node from a cluster, so that it no longer counts for the quorum. " +
        "Its copies are recreated on other nodes. Not needed if an empty node with the same name " +
        "replaces it",
      [
        "membershipd cluster remove n3 --nats-url nats://n1:4250 --service-keys keys.json",
      ],
    )
      .argument("<node>", "the node's name, as shown by cluster status")
      .option("--force", "even if streams without a copy on another node are lost"),
  ).action(async (node, flags) => {
    const { signal } = context.io;
    await using it = await reach(context, flags);
    const system = requireSystem(it, "cluster remove");
    const { nodes, size, needed } = await askNodes(system);
    const found = nodes.find(({ name }) => name === node);
    if (found === undefined) {
      const names = nodes.map(({ name }) => name).join(", ");
      throw new StoreError("not_found", `No node ${node} in the cluster; its nodes are ${names}`);
    }
    if (found.reachable) {
      throw new StoreError(
        "refused",
        `${node} is running; stop it first, and do not start it again`,
      );
    }
    if (nodes.filter(({ reachable }) => reachable).length < needed) {
      throw new StoreError("unavailable", `Removing ${node}: the cluster has no quorum`);
    }
    if (!flags.force) await demandCopies(it.service, node, signal);
    await removeNode(system, node, Date.now() + PATIENCE_MS, signal);
    if (flags.json) return await printJson(context, { removed: node, size: size - 1 });
    await print(context, `removed ${node}; the cluster has ${counted(size - 1, "node")}`);
  });
}

/**
 * Checks that every stream has a current copy on another node: a removed node's copy is recreated
 * from the others, or empty if there are none.
 *
 * @throws {StoreError} refused: a stream has no current copy on another node
 */
async function demandCopies(
  service: NatsConnection,
  node: string,
  signal: AbortSignal,
): Promise<void> {
  const lost = (await allCopies(service, signal)).filter(({ copies }) =>
    copies?.some((it) => it.node !== node && it.current && it.reachable) !== true
  ).map(({ stream }) => stream);
  if (lost.length === 0) return;
  throw new StoreError(
    "refused",
    `Removing ${node}: found no current copy of ${
      lost.join(", ")
    } on another node; start ${node} ` +
      "again and run cluster scale first, or use --force to lose these streams",
  );
}
