/**
 * Generates the completion script for bash, with or without the package bash-completion. Also
 * supports bash 3.2, which has neither compopt nor mapfile.
 *
 * @module
 */

import { VERSION } from "../version.ts";
import { type Flag, type Node, nodesOf, type Values } from "./tree.ts";

/** Generates the script. */
export function bashCompletion(root: Node): string {
  const nodes = nodesOf(root);
  const serve = nodes.find((it) => it.path.join(" ") === "serve")!;
  // Flags without a command are the server's.
  const flagsOf = (it: Node) => it === root ? [...root.flags, ...serve.flags] : it.flags;
  const rows = (of: (it: Node) => string) =>
    nodes.map((it) => ({ key: quote(it.path.join(" ")), text: of(it) }))
      .filter(({ text }) => text !== "")
      .map(({ key, text }) => `    ${key}) ${text} ;;`).join("\n");
  const values = nodes.flatMap((node) =>
    flagsOf(node).filter(({ values }) => values !== null).map((flag) => {
      const keys = flag.names.map((name) => quote(`${node.path.join(" ")} ${name}`)).join("|");
      return `    ${keys}) ${offer(flag.values!)} ;;`;
    })
  );
  return `# bash completion of membershipd ${VERSION}, made by \`membershipd completion bash\`.

_membershipd() {
  local path= word cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  local commands flags words= kind= i=1
  COMPREPLY=()
  [ "\${COMP_WORDS[1]}" = help ] && [ "$COMP_CWORD" -gt 1 ] && i=2
  while [ "$i" -lt "$COMP_CWORD" ]; do
    word=\${COMP_WORDS[i]}
    _membershipd_at "$path"
    case " $commands " in
      *" $word "*) path="\${path:+$path }$word" ;;
      *) break ;;
    esac
    i=$((i + 1))
  done
  _membershipd_at "$path"
  # Behind a flag, or what is no command, there comes none.
  [ "$i" -lt "$COMP_CWORD" ] && commands=
  # The parts of --flag=value are words of their own, where = is in COMP_WORDBREAKS.
  case $cur in
    =) prev=\${COMP_WORDS[COMP_CWORD - 1]} cur= ;;
    --*=*) prev=\${cur%%=*} cur=\${cur#*=} ;;
    *) [ "$prev" = = ] && prev=\${COMP_WORDS[COMP_CWORD - 2]} ;;
  esac
  case "$path $prev" in
${values.join("\n")}
    *)
      case $cur in
        -*) words=$flags ;;
        *)
          words=$commands
          _membershipd_arguments "$path"
          ;;
      esac
      ;;
  esac
  local IFS=$' \\t\\n'
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  # The shell's own completion of files knows more of quoting; bash 3.2 has no compopt.
  case $kind in
    file)
      compopt -o default 2>/dev/null || { IFS=$'\\n' && COMPREPLY=($(compgen -f -- "$cur")); } ;;
    directory)
      compopt -o dirnames 2>/dev/null || { IFS=$'\\n' && COMPREPLY=($(compgen -d -- "$cur")); } ;;
  esac
}

_membershipd_at() {
  commands=
  case $1 in
${rows((it) => it.commands.length > 0 ? `commands=${quote(names(it))}` : "")}
  esac
  case $1 in
${rows((it) => `flags=${quote([...new Set(flagsOf(it).map(longest))].join(" "))}`)}
  esac
}

_membershipd_arguments() {
  case $1 in
${rows((it) => it.args.length > 0 ? offer(it.args[0]!) : "")}
  esac
}

complete -F _membershipd membershipd
`;
}

function names(node: Node): string {
  return node.commands.map((below) => below.path.at(-1)).join(" ");
}

/** Returns the last name of a flag, the long one: short names are faster to type than to complete. */
function longest({ names }: Flag): string {
  return names.at(-1)!;
}

function offer({ kind, choices }: Values): string {
  if (kind === "choices") return `words=${quote(choices.join(" "))}`;
  return kind === "text" ? ":" : `kind=${kind}`;
}

/** Quotes a word of a shell script. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
