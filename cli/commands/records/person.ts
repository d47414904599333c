/**
 * Flags that say who a new user is.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import * as check from "../../../src/core/validate.ts";
import { readIdentityText } from "../../../src/keys/identity_file.ts";
import { publicIdentity } from "../../../src/keys/passphrase.ts";
import { adding } from "../../command.ts";
import { UsageError } from "../../terminal/failure.ts";

/** The flags. */
export type PersonFlags = { identity?: string; signPub?: string; kexPub?: string; handle: string };

/** Adds `--sign-pub`, `--kex-pub`, `--identity` and `--handle`. */
export const withPerson = adding<PersonFlags>((parent) =>
  parent.option("--sign-pub <key>", "Ed25519 public key, 64 hex digits")
    .option("--kex-pub <key>", "X25519 public key, 64 hex digits")
    .addOption(
      new Option("--identity <file>", "key file to take the public keys from")
        .conflicts(["signPub", "kexPub"]),
    )
    .requiredOption("--handle <name>", "display name")
);

/** Returns the public keys, given directly or as a key file, and the handle; checked. */
export async function personOf({ identity, handle, ...keys }: PersonFlags) {
  const { signPub, kexPub } = identity === undefined
    ? keys
    : publicIdentity((await readIdentityText(identity)).text);
  if (signPub === undefined || kexPub === undefined) {
    throw new UsageError("Give --sign-pub and --kex-pub, or --identity");
  }
  return {
    signPub: check.signPub("sign-pub", signPub),
    kexPub: check.kexPub("kex-pub", kexPub),
    handle: check.handle("handle", handle),
  };
}
