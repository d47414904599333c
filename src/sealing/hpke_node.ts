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
  hkdfSync,
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
  const prk = labeled(KEM, "eae_prk", dh);
  const shared = derive(prk, NOTHING, KEM, "shared_secret", concat(enc, kexPub), HASH_BYTES);
  const context = concat(BASE_MODE, NO_PSK_ID_HASH, extract(labeled(HPKE, "info_hash", info)));
  return {
    key: derive(SECRET, shared, HPKE, "key", context, KEY_BYTES),
    nonce: derive(SECRET, shared, HPKE, "base_nonce", context, NONCE_BYTES),
  };
}

/** The input of LabeledExtract, and that of LabeledExpand but for its length. */
function labeled(suite: Uint8Array, label: string, data: Uint8Array): Uint8Array {
  return concat(VERSION, suite, utf8(label), data);
}

/** LabeledExtract of labeled input, and LabeledExpand of what it gives: HKDF, which is quick as one. */
function derive(
  input: Uint8Array,
  salt: Uint8Array,
  suite: Uint8Array,
  label: string,
  info: Uint8Array,
  length: number,
): Uint8Array {
  const front = uint(length, 2);
  const all = hkdfSync("sha256", input, salt, concat(front, labeled(suite, label, info)), length);
  return new Uint8Array(all);
}

/**
 * LabeledExtract of labeled input alone, without a salt: HMAC by an empty key. `createHmac` makes a stream
 * each time, which takes longer than both hashes.
 */
function extract(input: Uint8Array): Uint8Array {
  return sha256(concat(OUTER, sha256(concat(INNER, input))));
}

function sha256(data: Uint8Array): Uint8Array {
  return hash("sha256", data, "buffer");
}

const INNER = new Uint8Array(BLOCK_BYTES).fill(0x36);
const OUTER = new Uint8Array(BLOCK_BYTES).fill(0x5c);
const BASE_MODE = Uint8Array.of(0);
/** The same for all in base mode. */
const NO_PSK_ID_HASH = extract(labeled(HPKE, "psk_id_hash", NOTHING));
const SECRET = labeled(HPKE, "secret", NOTHING);

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
