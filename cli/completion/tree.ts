/**
 * The tree of commands as plain data, read from the parser, for completions and the manual page.
 *
 * @module
 */

import { type CommandUnknownOpts, examplesOf } from "../command.ts";
import { KEYS, SPECS } from "../settings/settings.ts";

/** The value of a flag or an argument. */
export interface Values {
  /** Its name in the help, such as `file`. */
  name: string;
  /** What a shell can complete. */
  kind: "file" | "directory" | "choices" | "text";
  /** The possible values, if they are fixed. */
  choices: readonly string[];
}

/** A flag. */
export interface Flag {
  /** Its names, such as `-h` and `--help`. */
  names: string[];
  /** What it is. */
  help: string;
  /** What it takes, `null` for nothing. */
  values: Values | null;
  /** Its default value, for display. */
  fallback: string | null;
}

/** An argument. */
export interface Arg extends Values {
  /** What it is. */
  help: string;
  /** Whether it is required. */
  required: boolean;
}

/** A command. */
export interface Node {
  /** The words after the program's name. */
  path: string[];
  /** Its first sentence. */
  summary: string;
  /** What it does. */
  description: string;
  /** Its flags. */
  flags: Flag[];
  /** Its arguments. */
  args: Arg[];
  /** The commands below it. */
  commands: Node[];
  /** Command lines to copy. */
  examples: readonly string[];
}

/** Names of values that are files; `a` and `b` are the two states that `snapshot diff` compares. */
const FILES = new Set(["file", "path", "a", "b"]);

/** The choices of the server's settings, from their parsers. */
const WORDS = new Map(KEYS.map((key) => {
  const { flag, read } = SPECS[key];
  return [flag, (read as { words?: readonly string[] }).words ?? []];
}));

/** Converts a command and its subcommands. */
export function treeOf(parsed: CommandUnknownOpts, path: string[] = []): Node {
  const help = parsed.createHelp();
  return {
    path,
    summary: help.subcommandDescription(parsed),
    description: help.commandDescription(parsed),
    flags: help.visibleOptions(parsed).map((option): Flag => {
      const { short, long, description, defaultValue, argChoices, flags } = option;
      const [, name] = /[<[](.+?)[>\]]/.exec(flags) ?? [];
      return {
        names: [short, long].filter((it) => it !== undefined),
        help: description,
        values: name === undefined ? null : valuesOf(name, argChoices ?? WORDS.get(flags)),
        fallback: defaultValue === undefined ? null : String(defaultValue),
      };
    }),
    args: help.visibleArguments(parsed).map((argument): Arg => ({
      ...valuesOf(argument.name(), argument.argChoices),
      help: argument.description,
      required: argument.required,
    })),
    commands: help.visibleCommands(parsed).map((below) => treeOf(below, [...path, below.name()])),
    examples: examplesOf(parsed),
  };
}

/** Lists a command and all its subcommands, parents first. */
export function nodesOf(node: Node): Node[] {
  return [node, ...node.commands.flatMap(nodesOf)];
}

function valuesOf(name: string, choices: readonly string[] = []): Values {
  const kind = choices.length > 0
    ? "choices"
    : name === "directory"
    ? "directory"
    : FILES.has(name)
    ? "file"
    : "text";
  return { name, kind, choices };
}
