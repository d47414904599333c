/**
 * `cluster plan|status|scale|remove|replace|restart|import`
 *
 * @module
 */

import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { importCommand } from "./import.ts";
import { planCommand } from "./plan.ts";
import { removeCommand } from "./remove.ts";
import { replaceCommand } from "./replace.ts";
import { restartCommand } from "./restart.ts";
import { scaleCommand } from "./scale.ts";
import { statusCommand } from "./status.ts";

/** Creates the command. */
export function clusterCommand(context: Context): CommandUnknownOpts {
  return command(
    context,
    "cluster",
    "Manage a cluster of servers that use --store jetstream: plan, status, number of copies, nodes",
    [
      "membershipd cluster plan n1=10.0.0.1 n2=10.0.0.2 n3=10.0.0.3",
      "membershipd cluster status --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
      "membershipd cluster scale --replicas 3 --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
    ],
  )
    .addCommand(planCommand(context))
    .addCommand(statusCommand(context))
    .addCommand(scaleCommand(context))
    .addCommand(removeCommand(context))
    .addCommand(replaceCommand(context))
    .addCommand(restartCommand(context))
    .addCommand(importCommand(context));
}
