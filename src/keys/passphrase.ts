/**
 * Identities under a passphrase.
 *
 * @module
 */

import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import { concat, fromBase64url, toBase64url } from "./bytes.ts";
import { cardOf, demandBound } from "./card.ts";
import { type Identity, identityOfSecrets, importIdentity, secretsOf } from "./identity.ts";
import {
  formatCard,
  formatLocked,
  type Kdf,
  KDF_COST,
  lockedAad,
  type LockedIdentity,
  parseIdentity,
  passphraseBytes,
  type PublicKeys,
} from "./identity_format.ts";

const CIPHER = "aes-256-gcm";
const SEED_BYTES = 32;
const TAG_BYTES = 16;

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
  const { signPub, kexPub } = identity;
  const { signSeed, kexSeed } = secretsOf(identity);
  const nonce = randomBytes(12);
  const front: Omit<LockedIdentity, "sealed"> = {
    signPub,
    kexPub,
    binding: toBase64url(identity.signEndpoint()),
    kdf: { name: "scrypt", ...KDF_COST, salt: toBase64url(randomBytes(16)) },
    cipher: { name: "AES-256-GCM", nonce: toBase64url(nonce) },
  };
  const cipher = createCipheriv(CIPHER, await keyOf(passphrase, front.kdf), nonce);
  cipher.setAAD(lockedAad(front));
  const sealed = concat(
    cipher.update(concat(signSeed, kexSeed)),
    cipher.final(),
    cipher.getAuthTag(),
  );
  return formatLocked({ ...front, sealed: toBase64url(sealed) });
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
  const bytes = fromBase64url(it.sealed, 2 * SEED_BYTES + TAG_BYTES)!;
  const key = await keyOf(given, it.kdf);
  const decipher = createDecipheriv(CIPHER, key, fromBase64url(it.cipher.nonce, 12)!, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(lockedAad(it));
  decipher.setAuthTag(bytes.subarray(2 * SEED_BYTES));
  let seeds: Uint8Array;
  try {
    seeds = concat(decipher.update(bytes.subarray(0, 2 * SEED_BYTES)), decipher.final());
  } catch {
    throw new StoreError(
      "invalid",
      "The identity does not open: the passphrase is another, or the file was changed",
      { field: "passphrase" },
    );
  }
  return identityOfSecrets(it, {
    signSeed: seeds.subarray(0, SEED_BYTES),
    kexSeed: seeds.subarray(SEED_BYTES),
  });
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

function keyOf(passphrase: string, { n, r, p, salt }: Kdf): Promise<Uint8Array> {
  const bytes = passphraseBytes(passphrase);
  return new Promise((resolve, reject) => {
    const maxmem = 256 * n * r;
    scrypt(bytes, fromBase64url(salt, 16)!, 32, { N: n, r, p, maxmem }, (error, key) => {
      if (error) reject(error);
      else resolve(new Uint8Array(key));
    });
  });
}
