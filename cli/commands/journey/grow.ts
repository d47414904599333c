/**
 * `grow`
 *
 * @module
 */

import { InvalidArgumentError } from "@commander-js/extra-typings";
import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { UsageError } from "../../terminal/failure.ts";
import { withJourney } from "./flags.ts";
import { travel } from "./travel.ts";

/** Creates the command. */
export function growCommand(context: Context): CommandUnknownOpts {
  return withJourney(
    command(
      context,
      "grow",
      "Move the store of the running server from its file into the cluster of its plan, while it " +
        "serves. The nats-server restarts once; writes wait for less than a second at the switch. The " +
        "server does the work: Ctrl-C ends only the watching, and the same command watches or " +
        "continues it. Until the switch it can be called off",
      [
        "membershipd grow --dry-run",
        "membershipd grow",
        "membershipd grow --hold && membershipd grow --release",
        "membershipd grow --status --json | jq .phase",
        "membershipd grow --call-off",
      ],
    )
      .option("--pace <share>", "share of the time spent copying, up to 1 (default: 0.5)", share)
      .option("--no-history", "leave the history behind in the file")
      .option("--drop-streams", "leave streams behind that clients made on this nats-server")
      .option(
        "--force",
        "with --call-off: also if the bucket of the move, or a majority of the nodes, is gone for good. If the switch had begun, what " +
          "was written to the bucket afterwards is lost, such as revocations",
      ),
  ).action(async (flags) => {
    const { pace, dropStreams, force, history } = flags;
    if (force && !flags.callOff) throw new UsageError("--force is used with --call-off");
    await travel(context, "grow", flags, {
      ...pace === undefined ? {} : { pace },
      ...dropStreams ? { dropStreams } : {},
      ...history ? {} : { noHistory: true },
      ...force ? { force } : {},
    });
  });
}

function share(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError("It must be above 0 and up to 1.");
}
