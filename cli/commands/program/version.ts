/**
 * `version`
 *
 * @module
 */

import process from "node:process";
import { command, type CommandUnknownOpts, type Context, withJson } from "../../command.ts";
import { print, printJson } from "../../terminal/output.ts";
import { VERSION } from "../../version.ts";

/** Prints the version, or all relevant versions as JSON. */
export async function printVersion(context: Context, { json = false }): Promise<void> {
  if (!json) return await print(context, VERSION);
  const { SNAPSHOT_VERSION } = await import("../../../src/snapshot/format.ts");
  const { LAYOUT_VERSION } = await import("../../../src/jetstream/log/stream.ts");
  const { SCHEMA_VERSION } = await import("../../../src/sqlite/file/schema.ts");
  const { deno, node } = process.versions as { deno?: string; node: string };
  await printJson(context, {
    name: "membershipd",
    version: VERSION,
    runtime: deno === undefined ? { name: "node", version: node } : { name: "deno", version: deno },
    platform: `${process.platform}-${process.arch}`,
    natsServer: await natsVersion(context),
    formats: { snapshot: SNAPSHOT_VERSION, bucket: LAYOUT_VERSION, schema: SCHEMA_VERSION },
  });
}

/** Returns the version of the nats-server that would be started, or `null` if none is found. */
async function natsVersion({ io: { env, signal } }: Context): Promise<string | null> {
  const { natsServer } = await import("../../nats_server.ts");
  try {
    return (await natsServer({ env, signal })).version;
  } catch (error) {
    if (signal.aborted) throw error;
    return null;
  }
}

/** Creates the command. */
export function versionCommand(context: Context): CommandUnknownOpts {
  return withJson(command(
    context,
    "version",
    "Show the version. With --json also those of the runtime, the nats-server and the file formats",
    ["membershipd version", "membershipd version --json"],
  )).action(async ({ json }) => await printVersion(context, { json: json === true }));
}
