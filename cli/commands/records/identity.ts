/**
 * `identity create|show`: the keys of one peer, in a file.
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
import { writeWhole } from "../../store/files.ts";
import { fields, print, printJson } from "../../terminal/output.ts";
import { passphraseOf, withPassphrase } from "../../terminal/passphrase.ts";

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
  return withPassphrase(
    withJson(
      command(
        context,
        "create",
        "Make the keys of a new peer and keep them in a file of mode 0600; shows the public ones",
        [
          "membershipd identity create ada.json",
          "membershipd identity create ada.json --passphrase",
        ],
      ).argument("<file>", "where to keep them; no file is replaced"),
    ),
    "put the file under a passphrase",
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
        "Show the public keys of an identity, which needs no passphrase",
        [
          "membershipd identity show ada.json --json",
          "membershipd identity show ada.json --passphrase",
        ],
      ).argument("<file>", "the identity"),
    ),
    "make sure that the passphrase is the file's",
  ).action(async (file, flags) => {
    const { text, mode } = await readIdentityText(file);
    const found = publicIdentity(text);
    if (isOpen(mode)) await context.io.stderr.write(`warning: ${file}: ${openness(mode)}\n`);
    const passphrase = await passphraseOf(context, flags);
    if (passphrase !== null) {
      if (!found.locked) throw new UsageError(`${file} is not under a passphrase`);
      await unlockIdentity(text, passphrase);
    }
    await printKeys(context, flags, found);
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
  const { signPub, kexPub } = publicIdentity((await readIdentityText(file)).text);
  return { signPub, kexPub };
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
