/**
 * The primitives of HPKE by `node:crypto`. The library's own are those of Web Crypto, whose calls each take a
 * turn of another thread: some twenty of them for one sealed key, which made sealing ten times as slow as
 * its parts. The protocol stays the library's.
 *
 * Sources: RFC 9180 (HPKE), sections 4 and 7; RFC 5869 (HKDF).
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import {
  AEAD_AES_256_GCM,
  type AEADFactory,
  KDF_HKDF_SHA256,
  type KDFFactory,
  KEM_DHKEM_X25519_HKDF_SHA256,
  type KEMFactory,
  type Key,
  LabeledExpand,
  LabeledExtract,
} from "hpke";
import { concat } from "../keys/bytes.ts";
import { keyPair, publicKeyOf } from "../keys/ed25519.ts";
import { TAG_BYTES } from "./hpke.ts";

/** An X25519 key as the library expects one. The bytes of a private key cannot be exported from it. */
export interface NodeKey extends Key {
  readonly type: "public" | "private";
  readonly key: KeyObject;
  /** The 32 bytes of a public key. */
  readonly bytes: Uint8Array;
}

const ALGORITHM = Object.freeze({ name: "X25519" });
const NOTHING = new Uint8Array();
const SUITE_ID = new Uint8Array([...Buffer.from("KEM"), 0x00, 0x20]);
const EAE_PRK = new Uint8Array(Buffer.from("eae_prk"));
const SHARED_SECRET = new Uint8Array(Buffer.from("shared_secret"));
const GCM = "aes-256-gcm";

function publicKey(key: KeyObject, bytes: Uint8Array): NodeKey {
  return { algorithm: ALGORITHM, extractable: true, type: "public", key, bytes };
}

function privateKey(key: KeyObject): NodeKey {
  return { algorithm: ALGORITHM, extractable: false, type: "private", key, bytes: NOTHING };
}

function hmac(key: Uint8Array, ...data: Uint8Array[]): Buffer {
  const it = createHmac("sha256", key);
  for (const part of data) it.update(part);
  return it.digest();
}

/** HKDF-SHA256. */
export const KDF: KDFFactory = () => ({
  ...KDF_HKDF_SHA256(),
  Extract: (salt, ikm) => Promise.resolve(new Uint8Array(hmac(salt, ikm))),
  Expand(prk, info, length) {
    const found = new Uint8Array(length);
    let last: Uint8Array = NOTHING;
    for (let at = 0, n = 1; at < length; at += last.length, n++) {
      last = hmac(prk, last, info, Uint8Array.of(n));
      found.set(last.subarray(0, length - at), at);
    }
    return Promise.resolve(found);
  },
});

const kdf = KDF();

/** The shared secret of a Diffie-Hellman result. */
async function secretOf(dh: Uint8Array, enc: Uint8Array, to: Uint8Array): Promise<Uint8Array> {
  const prk = await LabeledExtract(kdf, SUITE_ID, NOTHING, EAE_PRK, dh);
  const context = new Uint8Array(Buffer.concat([enc, to]));
  return await LabeledExpand(kdf, SUITE_ID, prk, SHARED_SECRET, context, 32);
}

function unsupported(): Promise<never> {
  return Promise.reject(new TypeError("The private key cannot be exported or derived"));
}

/** DHKEM(X25519, HKDF-SHA256). */
export const KEM: KEMFactory<NodeKey> = () => {
  const { id, type, name, Nsecret, Nenc, Npk, Nsk } = KEM_DHKEM_X25519_HKDF_SHA256();
  return {
    ...{ id, type, name, Nsecret, Nenc, Npk, Nsk },
    DeriveKeyPair: unsupported,
    GenerateKeyPair() {
      const { privateKey: secret, publicBytes, public: open } = fresh();
      return Promise.resolve({
        privateKey: privateKey(secret),
        publicKey: publicKey(open, publicBytes),
      });
    },
    SerializePublicKey: (key) => Promise.resolve(key.bytes),
    DeserializePublicKey: (bytes) =>
      Promise.resolve(publicKey(publicKeyOf("x25519", bytes), new Uint8Array(bytes))),
    SerializePrivateKey: unsupported,
    DeserializePrivateKey: (bytes) => Promise.resolve(privateKey(keyPair("x25519", bytes).key)),
    async Encap(to) {
      const { privateKey, publicBytes: enc } = fresh();
      // Throws for a public key of small order, whose result would be all zeros.
      const dh = diffieHellman({ privateKey, publicKey: to.key });
      return { shared_secret: await secretOf(new Uint8Array(dh), enc, to.bytes), enc };
    },
    async Decap(enc, own, pub) {
      if (pub === undefined) throw new TypeError("The public key is needed too");
      const from = publicKeyOf("x25519", enc);
      const dh = diffieHellman({ privateKey: own.key, publicKey: from });
      return await secretOf(new Uint8Array(dh), enc, pub.bytes);
    },
  };
};

/** Makes a key pair. */
function fresh() {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const der = publicKey.export({ format: "der", type: "spki" });
  return { privateKey, public: publicKey, publicBytes: new Uint8Array(der.subarray(-32)) };
}

/** Encrypts with AES-256-GCM; returns the ciphertext and its tag. */
export function gcmSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const cipher = createCipheriv(GCM, key, nonce);
  cipher.setAAD(aad);
  return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

/** Decrypts with AES-256-GCM; throws if the ciphertext, its tag or `aad` was changed. */
export function gcmOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array {
  const decipher = createDecipheriv(GCM, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  return concat(decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final());
}

/** AES-256-GCM. */
export const AEAD: AEADFactory = () => ({
  ...AEAD_AES_256_GCM(),
  Seal: (key, nonce, aad, plaintext) => Promise.resolve(gcmSeal(key, nonce, aad, plaintext)),
  Open: async (key, nonce, aad, sealed) => await gcmOpen(key, nonce, aad, sealed),
});
