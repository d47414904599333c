/**
 * Text encrypted with a passphrase, as key files are: scrypt and AES-256-GCM.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import * as check from "../core/validate.ts";
import { fromBase64url, toBase64url, utf8 } from "./bytes.ts";
import { type Kdf, KDF_COST, kdfOf } from "./identity_format.ts";
import { deriveKey } from "./locked.ts";
import { nodeScrypt } from "./passphrase.ts";

/** Encrypted text. */
export interface LockedText {
  /** How the key is derived from the passphrase. */
  kdf: Kdf;
  /** The cipher, and its nonce of 12 bytes, base64url. */
  cipher: { name: "AES-256-GCM"; nonce: string };
  /** The encrypted text with the tag, base64url. */
  sealed: string;
}

/**
 * Encrypts text.
 *
 * @param text The text
 * @param passphrase The passphrase
 * @param front Readable text beside it, which cannot be changed without the passphrase either
 * @throws {StoreError} `invalid`: an empty passphrase
 */
export async function lockText(
  text: string,
  passphrase: string,
  front: string,
): Promise<LockedText> {
  const kdf: Kdf = { name: "scrypt", ...KDF_COST, salt: toBase64url(randomBytes(16)) };
  const cipher = { name: "AES-256-GCM", nonce: toBase64url(randomBytes(12)) } as const;
  const key = await deriveKey(passphrase, kdf, nodeScrypt);
  const sealed = await crypto.subtle.encrypt(gcm(kdf, cipher.nonce, front), key, utf8(text));
  return { kdf, cipher, sealed: toBase64url(new Uint8Array(sealed)) };
}

/**
 * Decrypts what {@link lockText} returned.
 *
 * @throws {StoreError} `invalid`: not such text; with field `passphrase`: it is wrong, or the text or
 * what is beside it was changed
 */
export async function unlockText(
  locked: unknown,
  passphrase: string,
  front: string,
): Promise<string> {
  const json = check.object("locked", locked);
  const kdf = kdfOf(check.object("kdf", json.kdf));
  const { name, nonce } = check.object("cipher", json.cipher);
  check.oneOf("cipher.name", name, ["AES-256-GCM"]);
  const sealed = typeof json.sealed === "string"
    ? fromBase64url(json.sealed, Math.floor(json.sealed.length * 3 / 4))
    : null;
  if (fromBase64url(nonce, 12) === null || sealed === null) {
    throw new StoreError("invalid", "The encrypted text is damaged", { field: "sealed" });
  }
  const key = await deriveKey(passphrase, kdf, nodeScrypt);
  try {
    const plain = await crypto.subtle.decrypt(gcm(kdf, String(nonce), front), key, sealed);
    return new TextDecoder().decode(plain);
  } catch {
    throw new StoreError(
      "invalid",
      "Cannot decrypt it: the passphrase is wrong, or the file was changed",
      { field: "passphrase" },
    );
  }
}

function gcm({ n, r, p, salt }: Kdf, nonce: string, front: string): AesGcmParams {
  const digest = createHash("sha256").update(front).digest("hex");
  const parts = ["unibus locked text v1", n, r, p, salt, nonce, digest];
  return {
    name: "AES-GCM",
    iv: fromBase64url(nonce, 12)!,
    additionalData: utf8(parts.join("\n")),
  };
}
