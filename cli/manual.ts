/**
 * The manual page, as the source that `man` reads: man(7), from the tree of commands.
 *
 * @module
 */

import { DEFAULT_DB } from "./command.ts";
import { type Arg, type Flag, type Node, nodesOf, type Values } from "./completion/tree.ts";
import { CODES } from "./program.ts";
import { KEYS, SPECS, variableOf } from "./serve/settings/settings.ts";
import { VERSION } from "./version.ts";

/** Variables that are no flags of the server; those have their flags' names. */
const VARIABLES: readonly (readonly [name: string, meaning: string])[] = [
  ["UNIBUS_CONFIG", "The server's file with settings, as --config."],
  ["UNIBUS_URL", "Where people reach the server, for the links of invite create."],
  ["UNIBUS_NATS_SERVER", "The nats-server program to use, instead of looking for one."],
  ["UNIBUS_NATS_RELEASES", "A mirror of nats-server's release downloads, for nats install."],
  [
    "UNIBUS_NATS_DEBUG",
    "1 puts the nats-server's log into the server's, and opens its monitoring " +
    "port on loopback.",
  ],
  ["UNIBUS_DEBUG", "1 adds to an error where in the program it arose."],
  [
    "UNIBUS_CACHE_DIR",
    "Where the program that unpacks itself does so. Default: the CACHE_DIRECTORY " +
    "of systemd, else unibus in the user's cache.",
  ],
  ["XDG_CACHE_HOME", "The user's cache; a downloaded nats-server is in it, under unibus."],
];

/** Files that are there unless flags name others. */
const FILES: readonly (readonly [path: string, meaning: string])[] = [
  [DEFAULT_DB, "The store, with --store sqlite."],
  [
    DEFAULT_DB.replace(/[^/]+$/, "service-keys.json"),
    "The keys of the server's own services. Whoever has them has the bus.",
  ],
  [SPECS.storeDir.fallback, "Blobs, with --store sqlite."],
  [SPECS.natsStore.fallback, "The streams of the server's nats-server."],
  ["~/.cache/unibus/nats-server", "nats-servers that nats install has put there."],
];

/** How many commands must have the same flag for it to be told once. */
const COMMON = 3;

/** Makes the page. */
export function manual(root: Node): string {
  const nodes = nodesOf(root).slice(1).filter((it) => it.commands.length === 0);
  const common = commonFlags(nodes);
  const lines = [
    `.\\" Made by \`membershipd man\`.`,
    `.TH MEMBERSHIPD 8 "" "membershipd ${VERSION}" "unibus membership"`,
    // Nothing stretched.
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
      "A flag of the server goes before its variable in the environment, that before the file of " +
        "--config, that before the default.",
    ),
    ...definitions(root.flags.map(flagEntry)),
    ".SH COMMANDS",
    ...nodes.flatMap((it) => commandLines(it, common)),
    ".SH COMMON FLAGS",
    "Flags that several commands have.",
    ...definitions([...common.values()].map(flagEntry)),
    ".SH EXIT STATUS",
    ...definitions(CODES.map(([code, meaning]) => [strong(String(code)), prose(`${meaning}.`)])),
    ".SH ENVIRONMENT",
    "Each flag of the server has a variable:",
    `${KEYS.map((it) => prose(variableOf(it))).join(",\n")}.`,
    "An empty one says nothing.",
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

/** Flags that several commands have, with one meaning, by what is told of them. */
function commonFlags(nodes: Node[]): Map<string, Flag> {
  const all = nodes.flatMap((it) => it.flags).map((flag) => [keyOf(flag), flag] as const);
  const times = Map.groupBy(all, ([key]) => key);
  return new Map(all.filter(([key]) => times.get(key)!.length >= COMMON));
}

function keyOf({ group: _, ...flag }: Flag): string {
  return JSON.stringify(flag);
}

function commandLines(it: Node, common: Map<string, Flag>): string[] {
  const own = it.flags.filter((flag) => !common.has(keyOf(flag)));
  const others = it.flags.filter((flag) => common.has(keyOf(flag)));
  const args = it.args.map(argumentName).join(" ");
  return [
    `.SS ${code(`membershipd ${it.path.join(" ")}${args === "" ? "" : ` ${args}`}`)}`,
    prose(`${it.description.replace(/\.$/, "")}.`),
    ...definitions(it.args.map((arg) => [`.I ${code(arg.name)}`, told(arg.help, arg, null)])),
    ...definitions(own.map(flagEntry)),
    ...others.length === 0 ? [] : [
      ".PP",
      `Also: ${others.map((flag) => bold(flag.names.at(-1)!)).join(", ")}.`,
    ],
    ...examples(it),
  ];
}

function examples(it: Node): string[] {
  if (it.examples.length === 0) return [];
  return [".PP", ".EX", ...it.examples.map((line) => plain(code(line))), ".EE"];
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

/** Text to be copied: every character as it is on the keyboard. */
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

/** Text to be read; in it only flags have dashes that are copied. */
function prose(text: string): string {
  const words = text.split(" ").map((it) =>
    /^[("]?--?[a-z]/.test(it) || /[/_]/.test(it) ? `\\%${code(it)}` : it.replaceAll("\\", "\\e")
  );
  return plain(words.join(" "));
}

/** A line that does not begin as a request does. */
function plain(text: string): string {
  return /^[.']/.test(text) ? `\\&${text}` : text;
}
