/**
 * `shrink`
 *
 * @module
 */

import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { withJourney } from "./flags.ts";
import { shrinkLost } from "./lost.ts";
import { travel } from "./travel.ts";

/** Creates the command. */
export function shrinkCommand(context: Context): CommandUnknownOpts {
  return withJourney(
    command(
      context,
      "shrink",
      "Move the store from the cluster into one file of this node, while it serves. Its second copy " +
        "becomes the file, so nothing is copied. Then its nats-server leaves the cluster, and the " +
        "other nodes stop serving. Ctrl-C ends only the watching. If a majority of the nodes is lost for " +
        "good, stop the server and use --force: writes that the second copy lacks are lost",
      [
        "membershipd shrink --keep n1 --dry-run",
        "membershipd shrink --keep n1",
        "membershipd shrink --status",
        "membershipd shrink --call-off",
        "membershipd shrink --keep n1 --force --dry-run",
      ],
    )
      .option("--keep <node>", "this node's name, as a confirmation (required to begin)")
      .option("--no-history", "do not wait for a second copy that lacks a part of the history")
      .option("--force", "without the cluster, which is lost; the server must be stopped"),
  ).action(async (flags) => {
    const { keep, force, history } = flags;
    if (force) return await shrinkLost(context, flags);
    await travel(context, "shrink", flags, {
      ...keep === undefined ? {} : { keep },
      ...history ? {} : { noHistory: true },
    });
  });
}
