/**
 * `man`: the manual page.
 *
 * @module
 */

import { command, type CommandUnknownOpts, type Context } from "../../command.ts";

/** Creates the command. `program` creates the parser with all commands. */
export function manCommand(
  context: Context,
  program: () => Promise<CommandUnknownOpts>,
): CommandUnknownOpts {
  return command(context, "man", "Show the source of the manual page, for man", [
    "membershipd man | man -l -",
    "membershipd man >/usr/local/share/man/man8/membershipd.8",
  ]).action(async () => {
    const { treeOf } = await import("../../completion/tree.ts");
    const { manual } = await import("../../manual.ts");
    await context.io.stdout.write(manual(treeOf(await program())));
  });
}
