/**
 * Ed25519 and X25519 keys of 32 bytes in the form that `node:crypto` needs.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject, verify } from "node:crypto";
import { signPub as checkSignPub } from "../core/validate.ts";

// The fixed DER in front of a key (RFC 8410).
const SPKI = {
  ed25519: Buffer.from("302a300506032b6570032100", "hex"),
  x25519: Buffer.from("302a300506032b656e032100", "hex"),
};
const PKCS8 = {
  ed25519: Buffer.from("302e020100300506032b657004220420", "hex"),
  x25519: Buffer.from("302e020100300506032b656e04220420", "hex"),
};
const GENERATION = 2048;

/** A cache of two generations: keys that were used since the older one was dropped stay. */
let young = new Map<string, KeyObject>();
let old = new Map<string, KeyObject>();

/** Returns the public key of a `signPub` in lower case, cached. Throws if it is not a valid point. */
export function publicKey(signPub: string): KeyObject {
  const known = young.get(signPub);
  if (known !== undefined) return known;
  const key = old.get(signPub) ?? publicKeyOf("ed25519", Buffer.from(signPub, "hex"));
  if (young.size >= GENERATION) {
    old = young;
    young = new Map();
  }
  young.set(signPub, key);
  return key;
}

/** Returns the public key of 32 bytes. Throws if they are not one. */
export function publicKeyOf(curve: keyof typeof SPKI, bytes: Uint8Array): KeyObject {
  const der = Buffer.concat([SPKI[curve], bytes]);
  return createPublicKey({ key: der, format: "der", type: "spki" });
}

/** Returns whether a signature of `data` by `signPub` is valid; `false` for malformed input too. */
export function verifies(signPub: string, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, data, publicKey(checkSignPub("signPub", signPub)), signature);
  } catch {
    return false;
  }
}

/** Returns the private key of 32 secret bytes, and the 32 bytes of its public key. */
export function keyPair(
  curve: keyof typeof PKCS8,
  secret: Uint8Array,
): { key: KeyObject; publicBytes: Buffer } {
  const der = Buffer.concat([PKCS8[curve], secret]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicBytes = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
  return { key, publicBytes };
}
