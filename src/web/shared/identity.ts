/// <reference lib="dom" />
/**
 * Key files, written and read in a browser: the form is the client's own.
 *
 * @module
 */

import { scryptAsync } from "@noble/hashes/scrypt.js";
import { formatPlain, parseIdentity, type Secrets } from "../../keys/identity_format.ts";
import type { PublicKeys } from "../../core/model.ts";
import { StoreError } from "../../core/errors.ts";
import { lock, type Scrypt, unlock } from "../../keys/locked.ts";
import { type Keys, keysOf } from "./keys.ts";

/** Called with 0 to 1 while a passphrase is made into a key, which takes a second or more. */
export type OnProgress = (part: number) => void;

/** Reads what a file says of itself, without its secrets; throws as {@link readIdentity} does. */
export function peek(text: string): PublicKeys & { locked: boolean } {
  const { signPub, kexPub, version } = parseIdentity(text);
  return { signPub, kexPub, locked: version === 2 };
}

/**
 * Writes a key file.
 *
 * @param passphrase Encrypts the file; without one, anyone who has the file has the identity
 */
export async function writeIdentity(
  secrets: Secrets,
  passphrase: string | null,
  onProgress?: OnProgress,
): Promise<string> {
  const keys = await keysOf(secrets);
  if (passphrase !== null) {
    return await lock(keys, await keys.signEndpoint(), secrets, passphrase, scryptOf(onProgress));
  }
  return formatPlain(keys, secrets);
}

/**
 * Opens a key file. The secrets are the caller's to forget.
 *
 * @throws {StoreError} `invalid` when it is none or was changed, with the field `passphrase` where that
 * is another; `unsupported` when it has a newer version
 */
export async function readIdentity(
  text: string,
  passphrase = "",
  onProgress?: OnProgress,
): Promise<{ secrets: Secrets; keys: Keys }> {
  const identity = parseIdentity(text);
  const secrets = identity.version === 1
    ? identity.secrets
    : await unlock(identity, passphrase, scryptOf(onProgress));
  const keys = await keysOf(secrets);
  if (keys.signPub !== identity.signPub || keys.kexPub !== identity.kexPub) {
    throw new StoreError(
      "invalid",
      "The public keys in the key file do not match its private keys",
    );
  }
  return { secrets, keys };
}

function scryptOf(onProgress?: OnProgress): Scrypt {
  return async (passphrase, salt, { n, r, p }) =>
    new Uint8Array(
      await scryptAsync(passphrase, salt, {
        N: n,
        r,
        p,
        dkLen: 32,
        // The page stays alive meanwhile.
        asyncTick: 20,
        ...onProgress && { onProgress },
      }),
    );
}
