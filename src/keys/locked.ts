/**
 * Encrypts private keys with a passphrase, by scrypt and AES-256-GCM. Has no `node:` imports: the caller
 * passes an implementation of scrypt, because browsers need another one.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { PublicKeys } from "../core/model.ts";
import { concat, fromBase64url, toBase64url } from "./bytes.ts";
import {
  formatLocked,
  type Kdf,
  KDF_COST,
  lockedAad,
  type LockedIdentity,
  passphraseBytes,
  type Secrets,
  SEED_BYTES,
} from "./identity_format.ts";

/** Derives 32 bytes from a passphrase by scrypt. */
export type Scrypt = (
  passphrase: Uint8Array<ArrayBuffer>,
  salt: Uint8Array<ArrayBuffer>,
  cost: Pick<Kdf, "n" | "r" | "p">,
) => Promise<Uint8Array<ArrayBuffer>>;

/** Returns the text of an encrypted identity; `binding` is the signature of both public keys. */
export async function lock(
  { signPub, kexPub }: PublicKeys,
  binding: Uint8Array,
  { signSeed, kexSeed }: Secrets,
  passphrase: string,
  scrypt: Scrypt,
): Promise<string> {
  const front: Omit<LockedIdentity, "sealed"> = {
    signPub,
    kexPub,
    binding: toBase64url(binding),
    kdf: { name: "scrypt", ...KDF_COST, salt: random(16) },
    cipher: { name: "AES-256-GCM", nonce: random(12) },
  };
  const key = await deriveKey(passphrase, front.kdf, scrypt);
  const plain = concat(signSeed, kexSeed);
  const sealed = await crypto.subtle.encrypt(gcm(front), key, plain);
  plain.fill(0);
  return formatLocked({ ...front, sealed: toBase64url(new Uint8Array(sealed)) });
}

/**
 * Decrypts an identity that {@link lock} encrypted.
 *
 * @throws {StoreError} `invalid`, field `passphrase`: it is wrong, or the file was changed
 */
export async function unlock(
  identity: LockedIdentity,
  passphrase: string,
  scrypt: Scrypt,
): Promise<Secrets> {
  const key = await deriveKey(passphrase, identity.kdf, scrypt);
  const sealed = fromBase64url(identity.sealed, 2 * SEED_BYTES + 16)!;
  try {
    const plain = new Uint8Array(await crypto.subtle.decrypt(gcm(identity), key, sealed));
    return { signSeed: plain.slice(0, SEED_BYTES), kexSeed: plain.slice(SEED_BYTES) };
  } catch {
    throw new StoreError(
      "invalid",
      "Cannot decrypt the key file: the passphrase is wrong, or the file was changed",
      { field: "passphrase" },
    );
  }
}

/** Derives the key of the cipher from a passphrase. */
export async function deriveKey(passphrase: string, kdf: Kdf, scrypt: Scrypt): Promise<CryptoKey> {
  const raw = await scrypt(passphraseBytes(passphrase), fromBase64url(kdf.salt, 16)!, kdf);
  return await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
}

function gcm(identity: Omit<LockedIdentity, "sealed">): AesGcmParams {
  return {
    name: "AES-GCM",
    iv: fromBase64url(identity.cipher.nonce, 12)!,
    additionalData: lockedAad(identity),
  };
}

function random(bytes: number): string {
  return toBase64url(crypto.getRandomValues(new Uint8Array(bytes)));
}
