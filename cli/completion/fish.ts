/**
 * Generates the completion script for fish.
 *
 * @module
 */

import { VERSION } from "../version.ts";
import { type Flag, type Node, nodesOf, type Values } from "./tree.ts";

/** Generates the script. */
export function fishCompletion(root: Node): string {
  const lines = nodesOf(root).flatMap((node) => {
    const path = node.path.join(" ");
    const here = path === "serve" ? "__membershipd_serves" : `__membershipd_in ${path}`.trim();
    return [
      ...node.commands.map((it) =>
        line(`__membershipd_at ${path}`.trim(), `-a ${quote(it.path.at(-1)!)}`, it.summary)
      ),
      // Flags without a command are the server's; those of the root are all commands' or its own.
      ...node.flags.map((it) => line(node === root ? "__membershipd_at" : here, flag(it), it.help)),
      ...node.args.slice(0, 1).map((it) => line(here, offer(it), null)),
    ];
  });
  return `# fish completion of membershipd ${VERSION}, made by \`membershipd completion fish\`.

# The words before the cursor, without the program's name and help.
function __membershipd_words
    set -l words (commandline -opc)
    set -e words[1]
    if test "$words[1]" = help
        set -e words[1]
    end
    string join -- \\n $words
end

# Whether these words are the command so far, and no others.
function __membershipd_at
    set -l words (__membershipd_words)
    test "$words" = "$argv"
end

# Whether the command is these words, whatever else was said.
function __membershipd_in
    set -l words (__membershipd_words)
    string match -q -- "$argv *" "$words "
end

# Whether the flags are the server's.
function __membershipd_serves
    set -l words (__membershipd_words)
    string match -qr -- '^(-.*|serve|)$' "$words[1]"
end

complete -c membershipd -f
${lines.join("\n")}
`;
}

function line(condition: string, what: string, help: string | null): string {
  const told = help === null ? "" : ` -d ${quote(help)}`;
  return `complete -c membershipd -n ${quote(condition)} ${what}${told}`;
}

function flag({ names, values }: Flag): string {
  const all = names.map((it) => it.startsWith("--") ? `-l ${it.slice(2)}` : `-s ${it.slice(1)}`);
  if (values === null) return all.join(" ");
  return `${all.join(" ")} -r ${offer(values)}`;
}

function offer({ kind, choices }: Values): string {
  if (kind === "file") return "-F";
  if (kind === "directory") return "-f -a '(__fish_complete_directories)'";
  return kind === "choices" ? `-f -a ${quote(choices.join(" "))}` : "-f";
}

/** Quotes a word of a fish script. */
function quote(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
