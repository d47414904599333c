/**
 * HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. The protocol is the
 * library's; the suite has the primitives, those of `node:crypto` or the library's own by Web Crypto.
 *
 * @module
 */

import type { CipherSuite, Key, KeyPair } from "hpke";
import type { Sealed } from "./primitives.ts";

/** Size of the encapsulated secret, an X25519 public key. */
export const ENC_BYTES = 32;
/** Number of bytes by which the ciphertext is longer than the plaintext. */
export const TAG_BYTES = 16;

/** Seals bytes for the owner of an X25519 key. */
export async function hpkeSeal<K extends Key>(
  suite: CipherSuite<K>,
  kexPub: Uint8Array,
  info: Uint8Array,
  plaintext: Uint8Array,
): Promise<Sealed> {
  const key = await suite.DeserializePublicKey(kexPub);
  const { encapsulatedSecret, ciphertext } = await suite.Seal(key, plaintext, { info });
  return { enc: encapsulatedSecret, ciphertext };
}

/** Opens sealed bytes; throws the library's error if they were not sealed for this key and info. */
export async function hpkeOpen<K extends Key>(
  suite: CipherSuite<K>,
  key: KeyPair<K>,
  info: Uint8Array,
  { enc, ciphertext }: Sealed,
): Promise<Uint8Array> {
  return await suite.Open(key, enc, ciphertext, { info });
}
