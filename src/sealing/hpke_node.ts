/**
 * HPKE in base mode by `node:crypto`: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Synchronous: the
 * library that browsers use waits for each primitive, which takes twice as long even where none waits.
 *
 * Sources: RFC 9180 (HPKE), sections 4, 5.1 and 7; RFC 5869 (HKDF); RFC 2104 (HMAC).
 *
 * @module
 */

import {
  createCipheriv,
  createDecipheriv,
  diffieHellman,
  generateKeyPairSync,
  hash,
  type KeyObject,
} from "node:crypto";
import { concat, uint, utf8 } from "../keys/bytes.ts";
import { keyPair, publicKeyOf } from "../keys/ed25519.ts";
import { type Sealed, TAG_BYTES } from "./primitives.ts";

const GCM = "aes-256-gcm";
const BLOCK_BYTES = 64;
const HASH_BYTES = 32;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;

const NOTHING = new Uint8Array();
const VERSION = utf8("HPKE-v1");
/** DHKEM(X25519, HKDF-SHA256). */
const KEM = concat(utf8("KEM"), uint(0x0020, 2));
/** The same, HKDF-SHA256, AES-256-GCM. */
const HPKE = concat(utf8("HPKE"), uint(0x0020, 2), uint(0x0001, 2), uint(0x0002, 2));

/** An X25519 key pair. */
export interface KexPair {
  key: KeyObject;
  publicBytes: Uint8Array;
}

/** Returns the key pair of an X25519 private key of 32 bytes. */
export function kexPairOf(secret: Uint8Array): KexPair {
  return keyPair("x25519", secret);
}

function newKexPair(): KexPair {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const der = publicKey.export({ format: "der", type: "spki" });
  return { key: privateKey, publicBytes: der.subarray(-KEY_BYTES) };
}

/**
 * Seals bytes for an X25519 key. Throws for a key of small order.
 *
 * @param once The key pair of this one sealing
 */
export function hpkeSeal(
  kexPub: Uint8Array,
  info: Uint8Array,
  plaintext: Uint8Array,
  once: KexPair = newKexPair(),
): Sealed {
  const enc = once.publicBytes;
  const dh = diffieHellman({ privateKey: once.key, publicKey: publicKeyOf("x25519", kexPub) });
  const { key, nonce } = schedule(dh, enc, kexPub, info);
  return { enc, ciphertext: gcmSeal(key, nonce, NOTHING, plaintext) };
}

/** Opens sealed bytes; throws if they were not sealed for this key pair and `info`. */
export function hpkeOpen(
  own: KexPair,
  info: Uint8Array,
  { enc, ciphertext }: Sealed,
): Uint8Array {
  const dh = diffieHellman({ privateKey: own.key, publicKey: publicKeyOf("x25519", enc) });
  const { key, nonce } = schedule(dh, enc, own.publicBytes, info);
  return gcmOpen(key, nonce, NOTHING, ciphertext);
}

/** ExtractAndExpand and KeySchedule: the key and the nonce of the only message. */
function schedule(dh: Uint8Array, enc: Uint8Array, kexPub: Uint8Array, info: Uint8Array) {
  const prk = extract(KEM, NOTHING, EAE_PRK, dh);
  const shared = expand(KEM, prk, SHARED_SECRET, concat(enc, kexPub), HASH_BYTES);
  const infoHash = extract(HPKE, NOTHING, INFO_HASH, info);
  const context = concat(BASE_MODE, NO_PSK_ID_HASH, infoHash);
  const secret = extract(HPKE, shared, SECRET, NOTHING);
  return {
    key: expand(HPKE, secret, KEY, context, KEY_BYTES),
    nonce: expand(HPKE, secret, BASE_NONCE, context, NONCE_BYTES),
  };
}

/** LabeledExtract. */
function extract(suite: Uint8Array, salt: Uint8Array, label: Uint8Array, ikm: Uint8Array) {
  return hmac(salt, VERSION, suite, label, ikm);
}

/** LabeledExpand, of no more than one hash. */
function expand(
  suite: Uint8Array,
  prk: Uint8Array,
  label: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  const all = hmac(prk, uint(length, 2), VERSION, suite, label, info, FIRST);
  return all.subarray(0, length);
}

/**
 * HMAC-SHA-256 with a key of at most one block. `createHmac` makes a stream each time, which takes longer
 * than both hashes.
 */
function hmac(key: Uint8Array, ...data: Uint8Array[]): Uint8Array {
  const inner = new Uint8Array(BLOCK_BYTES).fill(0x36);
  const outer = new Uint8Array(BLOCK_BYTES).fill(0x5c);
  for (let i = 0; i < key.length; i++) {
    inner[i]! ^= key[i]!;
    outer[i]! ^= key[i]!;
  }
  return sha256(concat(outer, sha256(concat(inner, ...data))));
}

function sha256(data: Uint8Array): Uint8Array {
  return hash("sha256", data, "buffer");
}

const EAE_PRK = utf8("eae_prk");
const SHARED_SECRET = utf8("shared_secret");
const INFO_HASH = utf8("info_hash");
const SECRET = utf8("secret");
const KEY = utf8("key");
const BASE_NONCE = utf8("base_nonce");
const BASE_MODE = Uint8Array.of(0);
const FIRST = Uint8Array.of(1);
/** The same for all in base mode. */
const NO_PSK_ID_HASH = extract(HPKE, NOTHING, utf8("psk_id_hash"), NOTHING);

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
