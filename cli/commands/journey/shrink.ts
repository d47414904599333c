/**
 * `shrink`
 *
 * @module
 */

import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { withJourney } from "./flags.ts";
import { travel } from "./travel.ts";

/** Creates the command. */
export function shrinkCommand(context: Context): CommandUnknownOpts {
  return withJourney(
    command(
      context,
      "shrink",
      "Move the store from the cluster into one file of this node, while it serves. Its second copy " +
        "becomes the file, so nothing is copied. Then its nats-server leaves the cluster, and the " +
        "other nodes stop serving. Ctrl-C ends only the watching. If a majority of the nodes is lost, " +
        "use promote instead",
      [
        "membershipd shrink --keep n1 --dry-run",
        "membershipd shrink --keep n1",
        "membershipd shrink --status",
        "membershipd shrink --call-off",
      ],
    )
      .option("--keep <node>", "this node's name, as a confirmation (required to begin)"),
  ).action(async (flags) => {
    const { keep } = flags;
    await travel(context, "shrink", flags, keep === undefined ? {} : { keep });
  });
}
