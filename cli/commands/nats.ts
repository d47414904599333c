/**
 * `nats install|path|version`: the nats-server program that tests and the server use.
 *
 * @module
 */

import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { BUS_AUTH } from "../../src/core/operations.ts";
import {
  installNatsServer,
  MIN_NATS_SERVER,
  type NatsBinary,
} from "../../src/nats/server/binary.ts";
import { command, type CommandUnknownOpts, type Context, withJson } from "../command.ts";
import { natsServer } from "../nats_server.ts";
import { print, printJson, say } from "../terminal/output.ts";

/** Makes the command. */
export function natsCommand(context: Context): CommandUnknownOpts {
  return command(
    context,
    "nats",
    `Find or get a nats-server, ${MIN_NATS_SERVER} or later: the one UNIBUS_NATS_SERVER names, ` +
      "else the one this program contains, one on the PATH, or the newest in our cache",
    ["membershipd nats install", "membershipd nats path", "membershipd nats accounts keys.json"],
  )
    .addCommand(accounts(context))
    .addCommand(install(context))
    .addCommand(path(context))
    .addCommand(version(context));
}

function install(context: Context): CommandUnknownOpts {
  return withJson(
    command(
      context,
      "install",
      "Put a nats-server into our cache: the official release with the SHA-256 that this program " +
        "or --digest says (another --release with the published one), or Debian's package",
      ["membershipd nats install", "membershipd nats install --release 2.15.0"],
    ).option("--release <version>", "which official release")
      .addOption(
        new Option("--digest <sha256>", "the SHA-256 of the release's archive for this platform")
          .argParser(sha256Of),
      ),
  ).action(async ({ release, digest: sha256, json }) => {
    const { env, signal } = context.io;
    const found = await installNatsServer({
      env,
      signal,
      log: (line) => void say(context, line),
      ...(release === undefined ? {} : { version: release }),
      // Who says which archive it must be wants that one, and no package instead.
      ...(sha256 === undefined ? {} : { sha256, sources: ["release"] as const }),
    });
    await show(context, found, json, `installed nats-server ${found.version} -> ${found.path}`);
  });
}

function sha256Of(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text;
  throw new InvalidArgumentError("It must be a SHA-256: 64 hex digits.");
}

function accounts(context: Context): CommandUnknownOpts {
  return command(
    context,
    "accounts",
    "Show the part of a nats-server's configuration that says who may connect, for a server that you " +
      "run yourself (serve --nats-url); makes the file with the keys when there is none",
    [
      "membershipd nats accounts keys.json >accounts.conf",
      "membershipd nats accounts keys.json --bus-auth off",
    ],
  )
    .argument("<file>", "the keys, which serve --service-keys takes")
    .addOption(
      new Option("--bus-auth <mode>", "how strictly the server looks at who connects")
        .choices(BUS_AUTH).default("enforce" as const),
    )
    .action(async (file, { busAuth }) => {
      const { formatBusAccounts } = await import("../../src/nats/callout/accounts.ts");
      const { loadServiceKeys } = await import("../../src/nats/connection/service_keys.ts");
      const keys = await loadServiceKeys(file, { create: true });
      await print(context, formatBusAccounts({ mode: busAuth, keys }).trimEnd());
    });
}

function path(context: Context): CommandUnknownOpts {
  return withJson(command(context, "path", "Show where the nats-server is; installs nothing", [
    "membershipd nats path",
    '"$(membershipd nats path)" --help',
  ])).action(async ({ json }) => {
    const found = await find(context);
    await show(context, found, json, found.path);
  });
}

function version(context: Context): CommandUnknownOpts {
  return withJson(command(context, "version", "Show the nats-server's version", [
    "membershipd nats version",
    "membershipd nats version --json",
  ])).action(async ({ json }) => {
    const found = await find(context);
    await show(context, found, json, found.version);
  });
}

function find({ io: { env, signal } }: Context): Promise<NatsBinary> {
  return natsServer({ env, signal });
}

async function show(
  context: Context,
  found: NatsBinary,
  json: true | undefined,
  line: string,
): Promise<void> {
  if (json) await printJson(context, found);
  else await print(context, line);
}
