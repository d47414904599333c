/**
 * `nats accounts|install|path|version`: the nats-server program and its configuration.
 *
 * @module
 */

import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { BUS_AUTH } from "../../src/core/operations.ts";
import {
  ensureNatsServer,
  installNatsServer,
  MIN_NATS_SERVER,
  type NatsBinary,
} from "../../src/nats/server/binary.ts";
import { command, type CommandUnknownOpts, type Context, withJson } from "../command.ts";
import { natsServer, shippedServer } from "../nats_server.ts";
import { print, printJson, say } from "../terminal/output.ts";

/** Creates the command. */
export function natsCommand(context: Context): CommandUnknownOpts {
  return command(
    context,
    "nats",
    `Find, install or configure a nats-server, ${MIN_NATS_SERVER} or later. The server uses the one ` +
      "in UNIBUS_NATS_SERVER, else the one bundled with this program, the one on the PATH, or the " +
      "newest in the cache",
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
      "Install a nats-server into the cache: the official release, or Debian's package if the " +
        "release is not available. The release is verified by the SHA-256 in this program, by " +
        "--digest, or, for another --release, by the published checksum",
      ["membershipd nats install", "membershipd nats install --release 2.15.0"],
    ).option("--missing", "install only if no nats-server is found; without a message if one is")
      .option("--release <version>", "official release to install")
      .addOption(
        new Option(
          "--digest <sha256>",
          "expected SHA-256 of the release's archive for this platform",
        )
          .argParser(sha256Of),
      ),
  ).action(async ({ missing, release, digest: sha256, json }) => {
    const { env, signal } = context.io;
    let isNew = false;
    const options = {
      env,
      signal,
      log: (line: string) => {
        isNew = true;
        void say(context, line);
      },
      ...(release === undefined ? {} : { version: release }),
      // A given digest identifies one archive, so no package is installed instead.
      ...(sha256 === undefined ? {} : { sha256, sources: ["release"] as const }),
    };
    const found = !missing
      ? await installNatsServer(options)
      : await shippedServer(env) === null
      ? await ensureNatsServer(options)
      : await natsServer({ env, signal });
    if (missing && !isNew && !json) return;
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
    "Show the accounts and authentication part of the configuration of a nats-server that you run " +
      "yourself (serve --nats-url). Creates the service key file if it does not exist",
    [
      "membershipd nats accounts keys.json >accounts.conf",
      "membershipd nats accounts keys.json --bus-auth off",
    ],
  )
    .argument("<file>", "service key file, for serve --service-keys")
    .addOption(
      new Option("--bus-auth <mode>", "how the server authenticates clients")
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
  return found(context, "path", "Show the path of the nats-server. Installs nothing", [
    "membershipd nats path",
    '"$(membershipd nats path)" --help',
  ]);
}

function version(context: Context): CommandUnknownOpts {
  return found(context, "version", "Show the nats-server's version", [
    "membershipd nats version",
    "membershipd nats version --json",
  ]);
}

function found(
  context: Context,
  name: "path" | "version",
  description: string,
  examples: string[],
): CommandUnknownOpts {
  const { env, signal } = context.io;
  return withJson(command(context, name, description, examples)).action(async ({ json }) => {
    const binary = await natsServer({ env, signal });
    await show(context, binary, json, binary[name]);
  });
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
