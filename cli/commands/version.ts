/**
 * `version`
 *
 * @module
 */

import process from "node:process";
import { command, type CommandUnknownOpts, type Context, withJson } from "../command.ts";
import { print, printJson } from "../output.ts";
import { VERSION } from "../version.ts";

/** Writes the version. */
export async function printVersion(context: Context, { json = false }): Promise<void> {
  if (!json) return await print(context, VERSION);
  const { deno, node } = process.versions as { deno?: string; node: string };
  const runtime = deno === undefined ? `node ${node}` : `deno ${deno}`;
  await printJson(context, { name: "membershipd", version: VERSION, runtime });
}

/** Makes the command. */
export function versionCommand(context: Context): CommandUnknownOpts {
  return withJson(command(context, "version", "Show the version", [
    "membershipd version",
    "membershipd version --json",
  ])).action(async ({ json }) => await printVersion(context, { json: json === true }));
}
