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
export function examplesOf(it: object): readonly string[] {
  return EXAMPLES.get(it) ?? [];
}

/** Creates a command. Its help shows the examples, one per line. */
export function command(
  context: Context,
  name: string,
  description: string,
  examples: readonly string[],
): Command {
  const it = new Command(name);
  EXAMPLES.set(it, examples);
  return it
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
  connectTimeout: number;
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

type With<A extends unknown[], O extends OptionValues, More> = Command<A, O & More>;

/** Adds `--json`. */
export function withJson<A extends unknown[], O extends OptionValues>(
  it: Command<A, O>,
): With<A, O, JsonFlag> {
  it.option("--json", "write one JSON document to stdout");
  return it as unknown as With<A, O, JsonFlag>;
}

/** `--progress`. */
export function withProgress<A extends unknown[], O extends OptionValues>(
  it: Command<A, O>,
): With<A, O, ProgressFlag> {
  it.addOption(
    new Option("--progress <style>", "progress on stderr; auto is a bar on a terminal, else plain")
      .choices(["auto", "bar", "plain", "json", "none"])
      .default("auto"),
  );
  return it as unknown as With<A, O, ProgressFlag>;
}

/** Where the servers are, and how to reach them. */
export function withNats<A extends unknown[], O extends OptionValues>(
  it: Command<A, O>,
  { required = false, alone = true }: { required?: boolean; alone?: boolean } = {},
): With<A, O, NatsFlags> {
  const text = alone ? "NATS server" : "NATS server whose bucket is the store, instead of a file";
  const where = new Option("--nats-url <url>", `${text}; repeat it for more of a cluster`)
    .argParser(urls);
  if (required) where.makeOptionMandatory();
  it.addOption(where as Option)
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
  return it as unknown as With<A, O, NatsFlags>;
}

/** `--db` or `--nats-url` with its company. */
export function withStore<A extends unknown[], O extends OptionValues>(
  it: Command<A, O>,
): With<A, O, StoreFlags> {
  it.option("--db <path>", DB_HELP);
  return withNats(it, { alone: false }) as unknown as With<A, O, StoreFlags>;
}

/** `--limit` and `--after`. */
export function withPaging<A extends unknown[], O extends OptionValues>(
  it: Command<A, O>,
): With<A, O, { limit?: number; after?: string }> {
  it.option("--limit <n>", "list at most so many (default: all)", wholeNumber(1))
    .option("--after <key>", "continue behind this one, the `next` of an earlier list");
  return it as unknown as With<A, O, { limit?: number; after?: string }>;
}
