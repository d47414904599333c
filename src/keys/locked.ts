/**
 * Private keys under a passphrase: scrypt makes the key, AES-256-GCM seals them. Without `node:`
 * modules: whoever calls brings the scrypt of its runtime, for the browser's is another one.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { concat, fromBase64url, toBase64url } from "./bytes.ts";
import {
  formatLocked,
  type Kdf,
  KDF_COST,
  lockedAad,
  type LockedIdentity,
  passphraseBytes,
  type PublicKeys,
} from "./identity_format.ts";

/** Bytes of each private key. */
export const SEED_BYTES = 32;

/** The private keys of one peer. */
export interface Secrets {
  /** 32 bytes, Ed25519. */
  signSeed: Uint8Array<ArrayBuffer>;
  /** 32 bytes, X25519. */
  kexSeed: Uint8Array<ArrayBuffer>;
}

/** Makes 32 bytes of a passphrase by scrypt. */
export type Scrypt = (
  passphrase: Uint8Array<ArrayBuffer>,
  salt: Uint8Array<ArrayBuffer>,
  cost: Pick<Kdf, "n" | "r" | "p">,
) => Promise<Uint8Array<ArrayBuffer>>;

/** Writes an identity under a passphrase; `binding` is the signature of both public keys. */
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
  const key = await keyOf(passphrase, front.kdf, scrypt);
  const plain = concat(signSeed, kexSeed);
  const sealed = await crypto.subtle.encrypt(gcm(front), key, plain);
  plain.fill(0);
  return formatLocked({ ...front, sealed: toBase64url(new Uint8Array(sealed)) });
}

/**
 * Opens what {@link lock} wrote.
 *
 * @throws {StoreError} `invalid`, field `passphrase`: it is another one, or the file was changed
 */
export async function unlock(
  it: LockedIdentity,
  passphrase: string,
  scrypt: Scrypt,
): Promise<Secrets> {
  const key = await keyOf(passphrase, it.kdf, scrypt);
  const sealed = fromBase64url(it.sealed, 2 * SEED_BYTES + 16)!;
  try {
    const plain = new Uint8Array(await crypto.subtle.decrypt(gcm(it), key, sealed));
    return { signSeed: plain.slice(0, SEED_BYTES), kexSeed: plain.slice(SEED_BYTES) };
  } catch {
    throw new StoreError(
      "invalid",
      "The identity does not open: the passphrase is another, or the file was changed",
      { field: "passphrase" },
    );
  }
}

async function keyOf(passphrase: string, kdf: Kdf, scrypt: Scrypt): Promise<CryptoKey> {
  const raw = await scrypt(passphraseBytes(passphrase), fromBase64url(kdf.salt, 16)!, kdf);
  return await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
}

function gcm(it: Omit<LockedIdentity, "sealed">): AesGcmParams {
  return {
    name: "AES-GCM",
    iv: fromBase64url(it.cipher.nonce, 12)!,
    additionalData: lockedAad(it),
  };
}

function random(bytes: number): string {
  return toBase64url(crypto.getRandomValues(new Uint8Array(bytes)));
}
