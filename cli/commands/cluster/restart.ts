/**
 * `cluster restart`
 *
 * @module
 */

import { isStoreError } from "../../../src/core/errors.ts";
import { clusterOf, refuseWaiting, restartNodes } from "../../cluster/rolling.ts";
import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { seconds } from "../../flags.ts";
import { UsageError } from "../../terminal/failure.ts";
import { print, printJson, say } from "../../terminal/output.ts";
import { reach, requireSystem, withCluster } from "./connect.ts";

/** Creates the command. */
export function restartCommand(context: Context): CommandUnknownOpts {
  return withCluster(
    command(
      context,
      "restart",
      "Restart the nodes of a cluster one after another, each only while all copies are current, " +
        "every node is ready and the second copies are equal. Stops at the first problem. A server " +
        "under systemd exits with code 75 and is started again; any other one restarts in place, " +
        "with its settings read again and the same program",
      [
        "membershipd cluster restart --rolling --nats-url nats://n1:4250,nats://n2:4250 --service-keys keys.json",
        "membershipd cluster restart --node n2 --nats-url nats://n1:4250 --service-keys keys.json",
      ],
    )
      .option("--rolling", "all nodes, the one with the leader of the control plane last")
      .option("--node <name>", "only this node")
      .option(
        "--exit",
        "exit with code 75 also without systemd; a service manager must start it again",
      )
      .option(
        "--wait <seconds>",
        "how long to wait each time until the cluster is whole",
        seconds,
        180,
      ),
  ).action(async (flags) => {
    const { rolling = false, node, json } = flags;
    if (rolling === (node !== undefined)) {
      throw new UsageError("cluster restart needs --rolling for all nodes, or --node NAME for one");
    }
    const { signal } = context.io;
    await using it = await reach(context, flags);
    const { service, bucket } = it;
    const system = requireSystem(it, "cluster restart");
    context.resume = "a node that was told to restart does so; run membershipd cluster status";
    await refuseWaiting(service, bucket).catch((error) => {
      // Without a leader it waits for one.
      if (!isStoreError(error, "unavailable")) throw error;
    });
    const restarted = await restartNodes(clusterOf(service, system, { bucket, signal }), {
      exit: flags.exit === true,
      wait: flags.wait * 1000,
      onProgress: (text) => void say(context, text),
      signal,
      ...node === undefined ? {} : { only: node },
    });
    if (json) return await printJson(context, { restarted });
    await print(context, `restarted ${restarted.map((it) => it.node).join(", ")}`);
  });
}
