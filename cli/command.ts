/**
 * Building blocks of commands: help with examples, flags that select a store, and the context.
 *
 * @module
 */

import {
  Command,
  type CommandUnknownOpts,
  Option,
  type OptionValues,
} from "@commander-js/extra-typings";
import { seconds, urls, wholeNumber } from "./flags.ts";
import type { Context } from "./terminal/context.ts";

export type { CommandUnknownOpts, Context };

const EXAMPLES = new WeakMap<object, readonly string[]>();

/** Returns the examples of a command created by {@link command}. */
export function examplesOf(owner: object): readonly string[] {
  return EXAMPLES.get(owner) ?? [];
}

/** Creates a command. Its help shows the examples, one per line. */
export function command(
  context: Context,
  name: string,
  description: string,
  examples: readonly string[],
): Command {
  const made = new Command(name);
  EXAMPLES.set(made, examples);
  return made
    .description(description)
    // The list of commands shows the first sentence.
    .summary(description.split(/[.:;] /)[0]!)
    .exitOverride()
    .configureOutput(context.parser)
    .helpOption("-h, --help", "show this help")
    .helpCommand(false)
    .addHelpText("after", `\nExamples:\n${examples.map((it) => `  ${it}`).join("\n")}`);
}

/** The SQLite file that is used by default. */
export const DEFAULT_DB = "./local_files/unibus.db";

/** Help text of `--db`. */
export const DB_HELP = `SQLite file (default: from the server's settings, else ${DEFAULT_DB})`;

/** Help text of a flag that names the file of a follower. */
export const FOLLOWER_HELP = "the follower's file (default: from the server's settings, else " +
  "./local_files/follower.db)";

/** Help text of `--create`. */
export const CREATE_HELP = "create the store if it does not exist, as for the first admin";

/** Flags for connecting to a NATS server. */
export type NatsFlags = {
  natsUrl?: string[];
  bucket?: string;
  ca?: string;
  nkeySeedFile?: string;
  creds?: string;
  serviceKeys?: string;
  /**
   * Not a flag: the certificate of the server's own nats-server on this machine, from its settings.
   */
  localCert?: string;
  /** Not a flag: the name of this machine if it is a node, whose bucket is created by `grow` only. */
  node?: string;
  connectTimeout: number;
};

/** The same with the server named. */
export type ServerFlags = NatsFlags & {
  natsUrl: string[];
};

/** Flags that select a store. */
export type StoreFlags = NatsFlags & {
  db?: string;
};

/** The flag for JSON output. */
export type JsonFlag = {
  json?: true;
};

/** The flag of long-running commands. */
export type ProgressFlag = {
  progress: "auto" | "bar" | "plain" | "json" | "none";
};

/** Adds flags to a command, and to its type. */
type Adding<More> = <A extends unknown[], O extends OptionValues>(
  parent: Command<A, O>,
) => Command<A, O & More>;

/** Creates a function that adds flags. */
export function adding<More>(add: (parent: Command) => unknown): Adding<More> {
  return (parent) => {
    add(parent as unknown as Command);
    return parent as never;
  };
}

/** Adds `--json`. */
export const withJson: Adding<JsonFlag> = adding((parent) =>
  parent.option("--json", "write one JSON document to stdout")
);

/** Adds `--progress`. */
export const withProgress: Adding<ProgressFlag> = adding((parent) =>
  parent.addOption(
    new Option("--progress <style>", "progress on stderr; auto is a bar on a terminal, else plain")
      .choices(["auto", "bar", "plain", "json", "none"])
      .default("auto"),
  )
);

/** Adds `--nats-url` and the flags for connecting; returns the option of the URL. */
function addNats(parent: Command, server = "NATS server"): Option {
  const where = new Option("--nats-url <url>", `${server}; repeat it for more of a cluster`)
    .argParser(urls) as Option;
  parent.addOption(where)
    .option("--bucket <name>", "bucket (default: UNIBUS)")
    .option("--ca <file>", "PEM file with the authority that signed the server's certificate")
    .addOption(
      new Option("--nkey-seed-file <file>", "file with our nkey's seed").conflicts("creds"),
    )
    .addOption(
      new Option("--creds <file>", "credentials file: a JWT and its seed").conflicts("serviceKeys"),
    )
    .addOption(
      new Option("--service-keys <file>", "keys that membershipd made for its own services")
        .conflicts("nkeySeedFile"),
    )
    .option("--connect-timeout <seconds>", "how long to try to reach the server", seconds, 10);
  return where;
}

/** Adds the flags for connecting to a NATS server. */
export const withNats: Adding<NatsFlags> = adding((parent) => addNats(parent));

/** Adds the same, with `--nats-url` required. */
export const withServer: Adding<ServerFlags> = adding((parent) =>
  addNats(parent).makeOptionMandatory()
);

/** Adds `--db`, and the flags for a bucket instead. */
export const withStore: Adding<StoreFlags> = adding((parent) =>
  addNats(
    parent.option("--db <path>", DB_HELP) as unknown as Command,
    "NATS server whose bucket is the store, instead of a file",
  )
);

/** Adds `--limit` and `--after`. */
export const withPaging: Adding<{ limit?: number; after?: string }> = adding((parent) =>
  parent.option("--limit <n>", "list at most so many (default: all)", wholeNumber(1))
    .option("--after <key>", "continue behind this one, the `next` of an earlier list")
);
