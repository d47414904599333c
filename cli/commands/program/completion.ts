/**
 * `completion bash|zsh|fish`
 *
 * @module
 */

import { Argument } from "@commander-js/extra-typings";
import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import type { Node } from "../../completion/tree.ts";

/** Each shell's script. */
const SCRIPTS: Record<string, () => Promise<(root: Node) => string>> = {
  bash: async () => (await import("../../completion/bash.ts")).bashCompletion,
  zsh: async () => (await import("../../completion/zsh.ts")).zshCompletion,
  fish: async () => (await import("../../completion/fish.ts")).fishCompletion,
};

/** Creates the command. `program` creates the parser with all commands. */
export function completionCommand(
  context: Context,
  program: () => Promise<CommandUnknownOpts>,
): CommandUnknownOpts {
  return command(
    context,
    "completion",
    "Show a shell's completion script for commands, flags, choices and files. Save it where the " +
      "shell looks for completions, and start a new shell",
    [
      "membershipd completion bash >~/.local/share/bash-completion/completions/membershipd",
      'membershipd completion zsh >"${fpath[1]}/_membershipd"',
      "membershipd completion fish >~/.config/fish/completions/membershipd.fish",
    ],
  )
    .addArgument(
      new Argument("<shell>", "the shell").choices(["bash", "zsh", "fish"] as const),
    )
    .action(async (shell) => {
      const { treeOf } = await import("../../completion/tree.ts");
      const script = await SCRIPTS[shell]!();
      await context.io.stdout.write(script(treeOf(await program())));
    });
}
