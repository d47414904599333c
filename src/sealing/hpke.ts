/**
 * HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
 *
 * @module
 */

import {
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_DHKEM_X25519_HKDF_SHA256,
  type KeyPair,
} from "hpke";

/** Size of the encapsulated secret, an X25519 public key. */
export const ENC_BYTES = 32;
/** Number of bytes by which the ciphertext is longer than the plaintext. */
export const TAG_BYTES = 16;

let suite: CipherSuite | undefined;

/** Returns the cipher suite, created on first use because the library then probes the runtime. */
function hpke(): CipherSuite {
  return suite ??= new CipherSuite(
    KEM_DHKEM_X25519_HKDF_SHA256,
    KDF_HKDF_SHA256,
    AEAD_AES_256_GCM,
  );
}

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
  const key = await hpke().DeserializePublicKey(kexPub);
  const { encapsulatedSecret, ciphertext } = await hpke().Seal(key, plaintext, { info });
  return { enc: encapsulatedSecret, ciphertext };
}

/** The key pair that opens sealed bytes. */
export type HpkeKey = KeyPair;

/** Imports an X25519 key pair; the private key cannot be exported from it. */
export async function hpkeKey(
  kexSeed: Uint8Array<ArrayBuffer>,
  kexPub: Uint8Array<ArrayBuffer>,
): Promise<HpkeKey> {
  return {
    privateKey: await hpke().DeserializePrivateKey(kexSeed, false),
    publicKey: await hpke().DeserializePublicKey(kexPub),
  };
}

/** Opens sealed bytes; throws the library's error if they were not sealed for this key and info. */
export async function hpkeOpen(
  key: HpkeKey,
  info: Uint8Array<ArrayBuffer>,
  { enc, ciphertext }: Sealed,
): Promise<Uint8Array> {
  return await hpke().Open(
    key,
    enc as Uint8Array<ArrayBuffer>,
    ciphertext as Uint8Array<ArrayBuffer>,
    { info },
  );
}
