/**
 * `identity create|show`: a user's keys in a key file.
 *
 * @module
 */

import { createIdentity, exportIdentity } from "../../../src/keys/identity.ts";
import { isOpen, openness, readIdentityText } from "../../../src/keys/identity_file.ts";
import {
  lockIdentity,
  type PublicIdentity,
  publicIdentity,
  unlockIdentity,
} from "../../../src/keys/passphrase.ts";
import { natsUserOf } from "../../../src/keys/nkey.ts";
import { command, type CommandUnknownOpts, type Context, withJson } from "../../command.ts";
import { UsageError } from "../../terminal/failure.ts";
import { writeWhole } from "../../terminal/files.ts";
import { fields, print, printJson } from "../../terminal/output.ts";
import { passphraseOf, withPassphrase } from "../../terminal/passphrase.ts";

/** Creates the command. */
export function identityCommand(context: Context): CommandUnknownOpts {
  return command(
    context,
    "identity",
    "Create or show an identity: a user's keys, in a key file readable by its owner only",
    [
      "membershipd identity create ada.json",
      "membershipd user add --admin --handle ada --identity ada.json",
    ],
  )
    .addCommand(create(context))
    .addCommand(show(context));
}

function create(context: Context): CommandUnknownOpts {
  return withPassphrase(
    withJson(
      command(
        context,
        "create",
        "Create the keys of a new identity in a key file with mode 0600, and show the public keys",
        [
          "membershipd identity create ada.json",
          "membershipd identity create ada.json --passphrase",
        ],
      ).argument("<file>", "the key file; an existing file is not replaced"),
    ),
    "encrypt the key file with a passphrase",
  ).action(async (file, flags) => {
    const identity = createIdentity();
    const { signal } = context.io;
    const passphrase = await passphraseOf(context, flags, { twice: true });
    const text = passphrase === null
      ? exportIdentity(identity)
      : await lockIdentity(identity, passphrase);
    await writeWhole(file, bytes(text), { force: false, signal });
    await printKeys(context, flags, publicIdentity(text));
  });
}

function show(context: Context): CommandUnknownOpts {
  return withPassphrase(
    withJson(
      command(
        context,
        "show",
        "Show the public keys in a key file. Needs no passphrase",
        [
          "membershipd identity show ada.json --json",
          "membershipd identity show ada.json --passphrase",
        ],
      ).argument("<file>", "the key file"),
    ),
    "check the passphrase of the key file",
  ).action(async (file, flags) => {
    const { text, mode } = await readIdentityText(file);
    const found = publicIdentity(text);
    if (isOpen(mode)) await context.io.stderr.write(`warning: ${file}: ${openness(mode)}\n`);
    const passphrase = await passphraseOf(context, flags);
    if (passphrase !== null) {
      if (!found.locked) throw new UsageError(`${file} is not encrypted with a passphrase`);
      await unlockIdentity(text, passphrase);
    }
    await printKeys(context, flags, found);
  });
}

async function printKeys(
  context: Context,
  { json }: { json?: true },
  { signPub, kexPub, locked, card }: PublicIdentity,
): Promise<void> {
  const nkey = natsUserOf(signPub);
  if (json) return await printJson(context, { signPub, kexPub, nkey, locked, card });
  await print(
    context,
    ...fields({
      "sign-pub": signPub,
      "kex-pub": kexPub,
      nkey,
      passphrase: locked ? "yes" : "no",
      card,
    }),
  );
}

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}
