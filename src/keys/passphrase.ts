/**
 * Identities under a passphrase.
 *
 * @module
 */

import { scrypt } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import { fromBase64url } from "./bytes.ts";
import { cardOf, demandBound } from "./card.ts";
import { type Identity, identityOfSecrets, importIdentity, secretsOf } from "./identity.ts";
import { formatCard, parseIdentity, type PublicKeys } from "./identity_format.ts";
import { lock, type Scrypt, unlock } from "./locked.ts";

/**
 * Writes an identity under a passphrase: scrypt and AES-256-GCM, for a file of mode 0600 all the same.
 * Takes part of a second and 128 MiB, so that guessing does too.
 *
 * @throws {StoreError} `invalid` for an empty passphrase
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

/** A passphrase, or what asks for it: called only where one is needed. */
export type Passphrase = string | (() => string | Promise<string>);

/**
 * Reads an identity in either form; one that is not under a passphrase needs none.
 *
 * @throws {StoreError} `invalid` when it is none, was changed, or the passphrase is wrong;
 * `unsupported` when it has a newer version
 */
export async function unlockIdentity(text: string, passphrase?: Passphrase): Promise<Identity> {
  const it = parseIdentity(text);
  if (it.version === 1) return importIdentity(text);
  if (passphrase === undefined) {
    throw new StoreError("invalid", "The identity is under a passphrase, and none was given", {
      field: "passphrase",
    });
  }
  // Found without the passphrase, and so before it is asked for.
  demandBound(it, fromBase64url(it.binding, 64)!, "The identity");
  const given = typeof passphrase === "string" ? passphrase : await passphrase();
  return identityOfSecrets(it, await unlock(it, given, nodeScrypt));
}

/** What everybody may know of an identity. */
export interface PublicIdentity extends PublicKeys {
  /** Its card; see `cardOf`. */
  card: string;
  /** Whether its file is under a passphrase. */
  locked: boolean;
}

/**
 * The public part of an identity in either form, without its passphrase. The keys are known to belong
 * together: by the private keys, or by the signature of one on the other.
 *
 * @throws {StoreError} `invalid`, `unsupported`
 */
export function publicIdentity(text: string): PublicIdentity {
  const it = parseIdentity(text);
  if (it.version === 1) {
    const identity = importIdentity(text);
    const { signPub, kexPub } = identity;
    return { signPub, kexPub, card: cardOf(identity), locked: false };
  }
  const { signPub, kexPub } = it;
  const binding = fromBase64url(it.binding, 64)!;
  demandBound({ signPub, kexPub }, binding, "The identity");
  return { signPub, kexPub, card: formatCard({ signPub, kexPub }, binding), locked: true };
}

const nodeScrypt: Scrypt = (passphrase, salt, { n, r, p }) =>
  new Promise((resolve, reject) => {
    scrypt(passphrase, salt, 32, { N: n, r, p, maxmem: 256 * n * r }, (error, key) => {
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
