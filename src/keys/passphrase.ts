/**
 * Identities encrypted with a passphrase.
 *
 * @module
 */

import { scrypt } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import type { PublicKeys } from "../core/model.ts";
import { fromBase64url } from "./bytes.ts";
import { cardOf, demandBound } from "./card.ts";
import { type Identity, identityOfSecrets, importIdentity, secretsOf } from "./identity.ts";
import { formatCard, parseIdentity } from "./identity_format.ts";
import { lock, type Scrypt, unlock } from "./locked.ts";

/**
 * Encrypts an identity with a passphrase (scrypt and AES-256-GCM). Give its file mode 0600 nevertheless.
 * Takes a fraction of a second and 128 MiB of memory, so that each guess of an attacker does too.
 *
 * @throws {StoreError} `invalid`: an empty passphrase
 *
 * @example
 * ```ts
 * import { createIdentity, lockIdentity, unlockIdentity } from "@unibus/membership/client";
 *
 * const ada = createIdentity();
 * const text = await lockIdentity(ada, "correct horse battery staple");
 * const read = await unlockIdentity(text, "correct horse battery staple");
 * if (read.signPub !== ada.signPub) throw new Error("unreachable");
 * ```
 */
export async function lockIdentity(identity: Identity, passphrase: string): Promise<string> {
  const secrets = secretsOf(identity);
  return await lock(identity, identity.signEndpoint(), secrets, passphrase, nodeScrypt);
}

/** A passphrase, or a function that asks for it, which is called only if one is needed. */
export type Passphrase = string | (() => string | Promise<string>);

/**
 * Imports an identity and decrypts it if it is encrypted.
 *
 * @throws {StoreError} `invalid`: not an identity, it was changed, or the passphrase is missing or wrong;
 * `unsupported`: a newer version
 */
export async function unlockIdentity(text: string, passphrase?: Passphrase): Promise<Identity> {
  const parsed = parseIdentity(text);
  if (parsed.version === 1) return importIdentity(text);
  if (passphrase === undefined) {
    throw new StoreError("invalid", "The key file is encrypted, and no passphrase was given", {
      field: "passphrase",
    });
  }
  // Needs no passphrase, so it is checked before the user is asked for one.
  demandBound(parsed, fromBase64url(parsed.binding, 64)!, "The key file");
  const given = typeof passphrase === "string" ? passphrase : await passphrase();
  return identityOfSecrets(parsed, await unlock(parsed, given, nodeScrypt));
}

/** The public part of an identity. */
export interface PublicIdentity extends PublicKeys {
  /** Its card; see `cardOf`. */
  card: string;
  /** Whether it is encrypted with a passphrase. */
  locked: boolean;
}

/**
 * Returns the public part of an identity, without its passphrase, after verifying that its keys belong
 * together: by the private keys, or by the signature of the signing key.
 *
 * @throws {StoreError} `invalid`; `unsupported`
 */
export function publicIdentity(text: string): PublicIdentity {
  const parsed = parseIdentity(text);
  if (parsed.version === 1) {
    const identity = importIdentity(text);
    const { signPub, kexPub } = identity;
    return { signPub, kexPub, card: cardOf(identity), locked: false };
  }
  const { signPub, kexPub } = parsed;
  const binding = fromBase64url(parsed.binding, 64)!;
  demandBound({ signPub, kexPub }, binding, "The key file");
  return { signPub, kexPub, card: formatCard({ signPub, kexPub }, binding), locked: true };
}

/** The scrypt of `node:crypto`. */
export const nodeScrypt: Scrypt = (passphrase, salt, { n, r, p }) =>
  new Promise((resolve, reject) => {
    scrypt(passphrase, salt, 32, { N: n, r, p, maxmem: 256 * n * r }, (error, key) => {
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
