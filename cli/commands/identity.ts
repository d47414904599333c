/**
 * `identity create|show`: the keys of one peer, in a file.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { createIdentity, exportIdentity, importIdentity } from "../../src/client/identity.ts";
import { StoreError } from "../../src/errors.ts";
import { natsUserOf } from "../../src/nats/nkey.ts";
import { command, type CommandUnknownOpts, type Context, withJson } from "../command.ts";
import { UsageError } from "../failure.ts";
import { writeWhole } from "../files.ts";
import { fields, print, printJson } from "../output.ts";

/** Makes the command. */
export function identityCommand(context: Context): CommandUnknownOpts {
  return command(context, "identity", "The keys of one peer, in a file for its own eyes", [
    "membershipd identity create ada.json",
    "membershipd user add --admin --handle ada --identity ada.json",
  ])
    .addCommand(create(context))
    .addCommand(show(context));
}

function create(context: Context): CommandUnknownOpts {
  return withJson(
    command(
      context,
      "create",
      "Make the keys of a new peer and keep them in a file of mode 0600; shows the public ones",
      ["membershipd identity create ada.json"],
    ).argument("<file>", "where to keep them; no file is replaced"),
  ).action(async (file, flags) => {
    const identity = createIdentity();
    const { signal } = context.io;
    await writeWhole(file, bytes(exportIdentity(identity)), { force: false, signal });
    await printKeys(context, flags, identity);
  });
}

function show(context: Context): CommandUnknownOpts {
  return withJson(
    command(context, "show", "Show the public keys of an identity", [
      "membershipd identity show ada.json --json",
    ]).argument("<file>", "the identity"),
  ).action(async (file, flags) => {
    await printKeys(context, flags, await publicKeys(file));
  });
}

/** The public keys of a peer. */
interface PublicKeys {
  signPub: string;
  kexPub: string;
}

/** The public keys that flags give, either themselves or as the file of an identity. */
export async function keysOf(
  { identity, signPub, kexPub }: { identity?: string; signPub?: string; kexPub?: string },
): Promise<PublicKeys> {
  if (identity !== undefined) return await publicKeys(identity);
  if (signPub === undefined || kexPub === undefined) {
    throw new UsageError("Give --sign-pub and --kex-pub, or --identity");
  }
  return { signPub, kexPub };
}

async function publicKeys(file: string): Promise<PublicKeys> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    const missing = (cause as { code?: string }).code === "ENOENT";
    const why = missing ? "no such file" : "it cannot be read";
    throw new StoreError(missing ? "not_found" : "invalid", `${file}: ${why}`, { cause });
  }
  const { signPub, kexPub } = importIdentity(text);
  return { signPub, kexPub };
}

async function printKeys(
  context: Context,
  { json }: { json?: true },
  { signPub, kexPub }: PublicKeys,
): Promise<void> {
  const found = { signPub, kexPub, nkey: natsUserOf(signPub) };
  if (json) return await printJson(context, found);
  const { nkey } = found;
  await print(context, ...fields({ "sign-pub": signPub, "kex-pub": kexPub, nkey }));
}

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}
