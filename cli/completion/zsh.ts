/**
 * Generates the completion script for zsh.
 *
 * @module
 */

import { VERSION } from "../version.ts";
import { quote } from "./bash.ts";
import type { Flag, Node, Values } from "./tree.ts";

/** Generates the script. */
export function zshCompletion(root: Node): string {
  const serve = root.commands.find((it) => it.path.join() === "serve")!;
  return `#compdef membershipd
# zsh completion of membershipd ${VERSION}, made by \`membershipd completion zsh\`.

${functionsOf(root, serve.flags)}
# As a file of a directory in fpath it is the function; sourced, it has to be made known.
if [ "$funcstack[1]" = "_membershipd" ]; then
  _membershipd "$@"
else
  compdef _membershipd membershipd
fi
`;
}

function functionsOf(node: Node, more: Flag[] = []): string {
  const own = node.commands.length > 0 ? group(node, more) : leaf(node);
  return [own, ...node.commands.map((below) => functionsOf(below))].join("\n");
}

function nameOf({ path }: Node): string {
  return ["_membershipd", ...path].join("_").replaceAll("-", "_");
}

function leaf(node: Node): string {
  const args = node.args.map(({ required, help, ...values }) =>
    `${required ? ":" : "::"}${escape(help)}:${action(values)}`
  );
  return body(node, [...node.flags.map(spec), ...args]);
}

function group(node: Node, more: Flag[]): string {
  const commands = node.commands.map((below) =>
    `      ${quote(`${below.path.at(-1)}:${below.summary.replaceAll(":", "\\:")}`)}`
  );
  const cases = node.commands.map((below) =>
    // The words of help are those of the command that is asked about.
    `    ${below.path.at(-1)}) ${nameOf(below.path.join() === "help" ? node : below)} ;;`
  );
  // Flags without a command are the server's.
  const flags = new Set([...node.flags, ...more].map(spec));
  const specs = [...flags, "1: :->command", "*:: :->rest"];
  return `${nameOf(node)}() {
  local context state state_descr line curcontext="$curcontext"
  typeset -A opt_args
  _arguments -C -S ${specs.map((it) => `\\\n    ${quote(it)}`).join(" ")} && return
  case $state in
  command)
    local -a commands=(
${commands.join("\n")}
    )
    _describe command commands
    ;;
  rest)
    case $words[1] in
${cases.join("\n")}
    esac
    ;;
  esac
}
`;
}

function body(node: Node, specs: string[]): string {
  const lines = specs.map((it) => `\\\n    ${quote(it)}`);
  return `${nameOf(node)}() {\n  _arguments -S ${lines.join(" ")}\n}\n`;
}

function spec({ names, help, values }: Flag): string {
  const others = names.length > 1 ? `(${names.join(" ")})` : "";
  const name = names.at(-1)!;
  if (values === null) return `${others}${name}[${escape(help)}]`;
  // Any may be repeated: lists grow, of the others the last one counts.
  return `*${name}=[${escape(help)}]:${escape(values.name)}:${action(values)}`;
}

function action({ kind, choices }: Values): string {
  if (kind === "choices") return `(${choices.join(" ")})`;
  return kind === "file" ? "_files" : kind === "directory" ? "_files -/" : "";
}

function escape(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&");
}
