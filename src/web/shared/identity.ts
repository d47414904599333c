/// <reference lib="dom" />
/**
 * Identity files, written and read in a browser: the form is the client's own.
 *
 * @module
 */

import { scryptAsync } from "@noble/hashes/scrypt.js";
import {
  formatLocked,
  formatPlain,
  type Kdf,
  KDF_COST,
  lockedAad,
  type LockedIdentity,
  parseIdentity,
  passphraseBytes,
  type PublicKeys,
} from "../../keys/identity_format.ts";
import { StoreError } from "../../core/errors.ts";
import { concat, fromBase64url, toBase64url } from "../../keys/bytes.ts";
import { type Keys, keysOf, type Secrets } from "./keys.ts";

const SEED_BYTES = 32;

/** Called with 0 to 1 while a passphrase is made into a key, which takes a second or more. */
export type OnProgress = (part: number) => void;

/** Reads what a file says of itself, without its secrets; throws as {@link readIdentity} does. */
export function peek(text: string): PublicKeys & { locked: boolean } {
  const { signPub, kexPub, version } = parseIdentity(text);
  return { signPub, kexPub, locked: version === 2 };
}

/**
 * Writes an identity file.
 *
 * @param passphrase Without one, whoever has the file has the identity
 */
export async function writeIdentity(
  secrets: Secrets,
  passphrase: string | null,
  onProgress?: OnProgress,
): Promise<string> {
  const { signSeed, kexSeed } = secrets;
  const keys = await keysOf(secrets);
  const { signPub, kexPub } = keys;
  if (passphrase === null) {
    return formatPlain({
      signPub,
      kexPub,
      signSeed: toBase64url(signSeed),
      kexSeed: toBase64url(kexSeed),
    });
  }
  const front: Omit<LockedIdentity, "sealed"> = {
    signPub,
    kexPub,
    binding: toBase64url(await keys.signEndpoint()),
    kdf: { name: "scrypt", ...KDF_COST, salt: random(16) },
    cipher: { name: "AES-256-GCM", nonce: random(12) },
  };
  const key = await keyOf(passphrase, front.kdf, onProgress);
  const plain = concat(signSeed, kexSeed);
  const sealed = new Uint8Array(await crypto.subtle.encrypt(gcm(front), key, plain));
  plain.fill(0);
  return formatLocked({ ...front, sealed: toBase64url(sealed) });
}

/**
 * Opens an identity file. The secrets are the caller's to forget.
 *
 * @throws {StoreError} `invalid` when it is none or was changed, with the field `passphrase` where that
 * is missing or another; `unsupported` when it has a newer version
 */
export async function readIdentity(
  text: string,
  passphrase: string | null = null,
  onProgress?: OnProgress,
): Promise<{ secrets: Secrets; keys: Keys }> {
  const it = parseIdentity(text);
  const secrets = it.version === 1
    ? {
      signSeed: fromBase64url(it.signSeed, SEED_BYTES)!,
      kexSeed: fromBase64url(it.kexSeed, SEED_BYTES)!,
    }
    : await unlock(it, passphrase, onProgress);
  const keys = await keysOf(secrets);
  if (keys.signPub !== it.signPub || keys.kexPub !== it.kexPub) {
    throw new StoreError(
      "invalid",
      "The public keys in the file do not match its private keys",
    );
  }
  return { secrets, keys };
}

async function unlock(
  it: LockedIdentity,
  passphrase: string | null,
  onProgress?: OnProgress,
): Promise<Secrets> {
  const field = "passphrase";
  if (passphrase === null) {
    throw new StoreError("invalid", "The file needs a passphrase", { field });
  }
  const key = await keyOf(passphrase, it.kdf, onProgress);
  const sealed = fromBase64url(it.sealed, 2 * SEED_BYTES + 16)!;
  try {
    const plain = new Uint8Array(await crypto.subtle.decrypt(gcm(it), key, sealed));
    return { signSeed: plain.slice(0, SEED_BYTES), kexSeed: plain.slice(SEED_BYTES) };
  } catch (cause) {
    const message = "The passphrase is wrong, or the file was changed";
    throw new StoreError("invalid", message, { field, cause });
  }
}

async function keyOf(
  passphrase: string,
  { n, r, p, salt }: Kdf,
  onProgress?: OnProgress,
): Promise<CryptoKey> {
  const bytes = await scryptAsync(passphraseBytes(passphrase), fromBase64url(salt, 16)!, {
    N: n,
    r,
    p,
    dkLen: 32,
    // The page stays alive meanwhile.
    asyncTick: 20,
    ...onProgress && { onProgress },
  });
  const raw = new Uint8Array(bytes);
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
