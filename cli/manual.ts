/**
 * Generates the source of the manual page, in the format man(7), from the tree of commands.
 *
 * @module
 */

import { DEFAULT_DB } from "./command.ts";
import { type Arg, type Flag, type Node, nodesOf, type Values } from "./completion/tree.ts";
import { KEYS, SPECS, variableOf } from "./settings/settings.ts";
import { EXIT_CODES } from "./terminal/failure.ts";
import { VERSION } from "./version.ts";

/** Environment variables that do not correspond to a flag of the server. */
const VARIABLES: readonly (readonly [name: string, meaning: string])[] = [
  ["UNIBUS_CONFIG", "The server's file with settings, as --config."],
  ["UNIBUS_URL", "Where people reach the server, for the links of invite create."],
  ["UNIBUS_NATS_SERVER", "The nats-server program to use, instead of looking for one."],
  ["UNIBUS_NATS_RELEASES", "A mirror of nats-server's release downloads, for nats install."],
  [
    "UNIBUS_NATS_DEBUG",
    "1 adds the nats-server's log to the server's log and opens its monitoring " +
    "port on loopback.",
  ],
  ["UNIBUS_DEBUG", "1 adds stack traces to errors."],
  [
    "UNIBUS_CACHE_DIR",
    "Directory to which a self-extracting program unpacks itself. Default: the " +
    "CACHE_DIRECTORY of systemd, else unibus in the user's cache.",
  ],
  [
    "XDG_CACHE_HOME",
    "The user's cache directory. A downloaded nats-server is in its directory unibus.",
  ],
];

/** Default files. */
const FILES: readonly (readonly [path: string, meaning: string])[] = [
  [DEFAULT_DB, "The store, with --store sqlite."],
  [
    DEFAULT_DB.replace(/[^/]+$/, "service-keys.json"),
    "The server's service keys. Anyone who has them controls the bus.",
  ],
  [SPECS.storeDir.fallback, "Blobs, with --store sqlite."],
  [SPECS.natsStore.fallback, "The streams of the server's nats-server."],
  ["~/.cache/unibus/nats-server", "The nats-servers that nats install has installed."],
];

/** A flag of at least this many commands is described once, under COMMON FLAGS. */
const COMMON = 3;

/** Generates the page. */
export function manual(root: Node): string {
  // A command with commands below it may do something itself, and then has flags besides --help.
  const nodes = nodesOf(root).slice(1)
    .filter((it) => it.commands.length === 0 || it.flags.length > 1);
  const common = commonFlags(nodes);
  const lines = [
    `.\\" Made by \`membershipd man\`.`,
    `.TH MEMBERSHIPD 8 "" "membershipd ${VERSION}" "unibus membership"`,
    // Left-aligned.
    ".ad l",
    ".SH NAME",
    "membershipd \\- the control plane of unibus",
    ".SH SYNOPSIS",
    `.B membershipd`,
    '.RI [ command ] " " [ flags ]',
    ".SH DESCRIPTION",
    prose(root.description.replaceAll("`", "")),
    ".PP",
    prose(
      "A flag of the server overrides its environment variable, which overrides the --config file, " +
        "which overrides the default.",
    ),
    ...definitions(root.flags.map(flagEntry)),
    ".SH COMMANDS",
    ...nodes.flatMap((it) => commandLines(it, common)),
    ".SH COMMON FLAGS",
    "Flags of several commands.",
    ...definitions([...common.values()].map(flagEntry)),
    ".SH EXIT STATUS",
    ...definitions(
      EXIT_CODES.map(([code, meaning]) => [strong(String(code)), prose(`${meaning}.`)]),
    ),
    ".SH ENVIRONMENT",
    "Each flag of the server has an environment variable:",
    `${KEYS.map((it) => prose(variableOf(it))).join(",\n")}.`,
    "An empty variable is ignored.",
    ...definitions(VARIABLES.map(([name, meaning]) => [strong(name), prose(meaning)])),
    ".SH FILES",
    ...definitions(FILES.map(([path, meaning]) => [`.I ${code(path)}`, prose(meaning)])),
    ".SH EXAMPLES",
    ...examples(root),
    ".SH SEE ALSO",
    ".BR nats-server (8)",
  ];
  return `${lines.join("\n")}\n`;
}

/** Finds the flags that several commands have with the same description. */
function commonFlags(nodes: Node[]): Map<string, Flag> {
  const all = nodes.flatMap((it) => it.flags).map((flag) => [flagKey(flag), flag] as const);
  const times = Map.groupBy(all, ([key]) => key);
  return new Map(all.filter(([key]) => times.get(key)!.length >= COMMON));
}

function flagKey(flag: Flag): string {
  return JSON.stringify(flag);
}

function commandLines(node: Node, common: Map<string, Flag>): string[] {
  const own = node.flags.filter((flag) => !common.has(flagKey(flag)));
  const others = node.flags.filter((flag) => common.has(flagKey(flag)));
  const args = node.args.map(argumentName).join(" ");
  return [
    `.SS ${code(`membershipd ${node.path.join(" ")}${args === "" ? "" : ` ${args}`}`)}`,
    prose(`${node.description.replace(/\.$/, "")}.`),
    ...definitions(node.args.map((arg) => [`.I ${code(arg.name)}`, told(arg.help, arg, null)])),
    ...definitions(own.map(flagEntry)),
    ...others.length === 0 ? [] : [
      ".PP",
      `Also: ${others.map((flag) => bold(flag.names.at(-1)!)).join(", ")}.`,
    ],
    ...examples(node),
  ];
}

function examples(node: Node): string[] {
  if (node.examples.length === 0) return [];
  return [".PP", ".EX", ...node.examples.map((line) => plain(code(line))), ".EE"];
}

function argumentName({ name, required }: Arg): string {
  return required ? `<${name}>` : `[${name}]`;
}

function flagEntry({ names, values, help, fallback }: Flag): [string, string] {
  const name = names.map(bold).join(", ");
  return [
    values === null ? name : `${name} \\fI${code(values.name)}\\fP`,
    told(help, values, fallback),
  ];
}

function told(help: string, values: Values | null, fallback: string | null): string {
  const choices = values?.choices ?? [];
  const more = choices.every((it) => help.includes(it)) ? "" : ` (${choices.join(", ")})`;
  return prose(`${help}${more}${fallback === null ? "" : ` (default: ${fallback})`}.`);
}

function definitions(entries: readonly (readonly [what: string, meaning: string])[]): string[] {
  return entries.flatMap(([what, meaning]) => [".TP", what, meaning]);
}

function strong(text: string): string {
  return `.B ${code(text)}`;
}

function bold(text: string): string {
  return `\\fB${code(text)}\\fP`;
}

/** Escapes text to copy: every character is printed in its ASCII form. */
function code(text: string): string {
  const names: Record<string, string> = {
    "\\": "\\e",
    "-": "\\-",
    "'": "\\(aq",
    '"': "\\(dq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
  };
  return text.replace(/[\\\-'"`^~]/g, (it) => names[it]!);
}

/** Escapes text to read, in which only flags and paths keep ASCII dashes. */
function prose(text: string): string {
  const words = text.split(" ").map((it) =>
    /^[("]?--?[a-z]/.test(it) || /[/_]/.test(it) ? `\\%${code(it)}` : it.replaceAll("\\", "\\e")
  );
  return plain(words.join(" "));
}

/** Escapes a line that would start with a control character of roff. */
function plain(text: string): string {
  return /^[.']/.test(text) ? `\\&${text}` : text;
}
