/**
 * HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
 *
 * @module
 */

import { CipherSuite, type KeyPair } from "hpke";
import { AEAD, KDF, KEM, type NodeKey } from "./hpke_node.ts";

/** Size of the encapsulated secret, an X25519 public key. */
export const ENC_BYTES = 32;
/** Number of bytes by which the ciphertext is longer than the plaintext. */
export const TAG_BYTES = 16;

const suite = new CipherSuite(KEM, KDF, AEAD);

/** Sealed bytes. */
export interface Sealed {
  /** The encapsulated secret. */
  enc: Uint8Array;
  /** The ciphertext with its tag. */
  ciphertext: Uint8Array;
}

/** Seals bytes for the owner of an X25519 key. */
export async function hpkeSeal(
  kexPub: Uint8Array<ArrayBuffer>,
  info: Uint8Array<ArrayBuffer>,
  plaintext: Uint8Array<ArrayBuffer>,
): Promise<Sealed> {
  const key = await suite.DeserializePublicKey(kexPub);
  const { encapsulatedSecret, ciphertext } = await suite.Seal(key, plaintext, { info });
  return { enc: encapsulatedSecret, ciphertext };
}

/** The key pair that opens sealed bytes. */
export type HpkeKey = KeyPair<NodeKey>;

/** Imports an X25519 key pair; the private key cannot be exported from it. */
export async function hpkeKey(
  kexSeed: Uint8Array<ArrayBuffer>,
  kexPub: Uint8Array<ArrayBuffer>,
): Promise<HpkeKey> {
  return {
    privateKey: await suite.DeserializePrivateKey(kexSeed, false),
    publicKey: await suite.DeserializePublicKey(kexPub),
  };
}

/** Opens sealed bytes; throws the library's error if they were not sealed for this key and info. */
export async function hpkeOpen(
  key: HpkeKey,
  info: Uint8Array<ArrayBuffer>,
  { enc, ciphertext }: Sealed,
): Promise<Uint8Array> {
  return await suite.Open(
    key,
    enc as Uint8Array<ArrayBuffer>,
    ciphertext as Uint8Array<ArrayBuffer>,
    { info },
  );
}
