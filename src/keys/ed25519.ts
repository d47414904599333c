/**
 * Ed25519 public keys as `node:crypto` wants them, kept for the next request of the same signer.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createPublicKey, type KeyObject } from "node:crypto";

/** SubjectPublicKeyInfo of an Ed25519 key, up to the key itself (RFC 8410). */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const GENERATION = 2048;

/** Two generations: what was used since the older one was dropped stays. */
let young = new Map<string, KeyObject>();
let old = new Map<string, KeyObject>();

/** The key of a `signPub` in lower case. Throws where the runtime refuses it as a point. */
export function publicKey(signPub: string): KeyObject {
  const known = young.get(signPub);
  if (known !== undefined) return known;
  const key = old.get(signPub) ?? createPublicKey({
    key: Buffer.concat([SPKI, Buffer.from(signPub, "hex")]),
    format: "der",
    type: "spki",
  });
  if (young.size >= GENERATION) {
    old = young;
    young = new Map();
  }
  young.set(signPub, key);
  return key;
}
