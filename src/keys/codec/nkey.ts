/**
 * Nkeys, the text form of NATS keys: base32 of a prefix byte, an Ed25519 key and a checksum. The prefix
 * determines the first letter: `U` for a user, `A` an account, `N` a server; a seed has `S` before it.
 * Has no `node:` imports, because the browser's pages use them too.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { isSmallOrderEd25519 } from "../../core/checks/small_order.ts";
import { signPub as checkSignPub } from "../../core/validate.ts";
import { fromHex, toHex } from "../bytes.ts";

/** The kind of an nkey. */
export type NkeyKind = "user" | "account" | "server";

/** The prefix byte of each kind. */
export const PREFIX: Record<NkeyKind, number> = { user: 20 << 3, account: 0, server: 13 << 3 };
const KEY_BYTES = 32;

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const DIGIT = new Map([...ALPHABET].map((it, i) => [it, i]));

/** Encodes bytes as base32 (RFC 4648) in upper case, without padding. */
function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      text += ALPHABET[(value >>> (bits - 5)) & 31];
      bits -= 5;
    }
    value &= 31;
  }
  return bits === 0 ? text : text + ALPHABET[(value << (5 - bits)) & 31];
}

/** Decodes base32; returns `null` if it is malformed or not canonical. */
function unbase32(text: string): Uint8Array | null {
  const bytes = new Uint8Array(Math.floor(text.length * 5 / 8));
  let at = 0;
  let bits = 0;
  let value = 0;
  for (const letter of text) {
    const digit = DIGIT.get(letter);
    if (digit === undefined) return null;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bytes[at++] = value >>> (bits - 8);
      bits -= 8;
    }
    value &= (1 << bits) - 1;
  }
  // Remaining bits must be zero and fewer than a letter has, or two texts would encode the same key.
  return bits < 5 && value === 0 ? bytes : null;
}

/** Computes CRC-16/XMODEM. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return crc & 0xffff;
}

/** Encodes prefix bytes and a key with a checksum. */
export function encode(prefix: readonly number[], key: Uint8Array): string {
  const raw = new Uint8Array(prefix.length + key.length + 2);
  raw.set(prefix);
  raw.set(key, prefix.length);
  const crc = crc16(raw.subarray(0, -2));
  raw.set([crc & 0xff, crc >> 8], raw.length - 2);
  return base32(raw);
}

/** Returns the bytes before the checksum, or `null` if the text is not an nkey of this length. */
export function decode(text: string, length: number): Uint8Array | null {
  if (text.length !== Math.ceil((length + 2) * 8 / 5)) return null;
  const raw = unbase32(text);
  if (raw === null) return null;
  const body = raw.subarray(0, -2);
  const crc = raw[raw.length - 2]! | raw[raw.length - 1]! << 8;
  return crc === crc16(body) ? body : null;
}

/** Encodes an Ed25519 public key of 32 bytes as an nkey. */
export function encodePublic(kind: NkeyKind, key: Uint8Array): string {
  if (key.length !== KEY_BYTES) {
    throw new StoreError("invalid", `An nkey needs a key of 32 bytes, found ${key.length}`);
  }
  return encode([PREFIX[kind]], key);
}

/** Returns the 32 bytes of a public nkey, or `null` if the text is not one of this kind. */
export function decodePublic(kind: NkeyKind, text: string): Uint8Array | null {
  const body = decode(text, 1 + KEY_BYTES);
  return body !== null && body[0] === PREFIX[kind] ? body.subarray(1) : null;
}

/**
 * Returns the user nkey (`U…`) of a `signPub`, which has the same 32 bytes.
 *
 * @throws {StoreError} `invalid`: not a `signPub`
 */
export function natsUserOf(signPub: string): string {
  return encodePublic("user", fromHex(checkSignPub("signPub", signPub)));
}

/** Returns the `signPub` of a user nkey, or `null` if it is malformed or a small-order point. */
export function signPubOf(nkey: string): string | null {
  const key = decodePublic("user", nkey);
  if (key === null) return null;
  const hex = toHex(key);
  return isSmallOrderEd25519(hex) ? null : hex;
}
