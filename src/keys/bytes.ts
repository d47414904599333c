/**
 * Builds and encodes bytes. Decoding accepts only the canonical encoding.
 *
 * @module
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Encodes text as UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** Returns random bytes. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** Concatenates bytes. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Encodes an unsigned integer, big-endian. */
export function uint(value: number, bytes: 2 | 4 | 8): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(bytes);
  const view = new DataView(all.buffer);
  if (bytes === 2) view.setUint16(0, value);
  else if (bytes === 4) view.setUint32(0, value);
  else view.setBigUint64(0, BigInt(value));
  return all;
}

/** Encodes text as its length in bytes (2 bytes) and UTF-8. */
export function sized(text: string): Uint8Array<ArrayBuffer> {
  const bytes = utf8(text);
  return concat(uint(bytes.length, 2), bytes);
}

const HEX = utf8("0123456789abcdef");

/** Encodes bytes as lower-case hex. (Text that is put together digit by digit keeps an object for each.) */
export function toHex(bytes: Uint8Array): string {
  const text = new Uint8Array(2 * bytes.length);
  let at = 0;
  for (const byte of bytes) {
    text[at++] = HEX[byte >> 4]!;
    text[at++] = HEX[byte & 15]!;
  }
  return decoder.decode(text);
}

/** The value of each hex digit, by its character code. */
const DIGITS = new Uint8Array(128);
for (const [i, code] of HEX.entries()) DIGITS[code] = i;

/** Decodes lower-case hex that has been validated. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = DIGITS[hex.charCodeAt(2 * i)]! << 4 | DIGITS[hex.charCodeAt(2 * i + 1)]!;
  }
  return bytes;
}

const BASE64URL = utf8("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
const NO_DIGIT = 64;
/** The value of each base64url digit, by its character code. */
const DIGITS_64 = new Uint8Array(128).fill(NO_DIGIT);
for (const [i, code] of BASE64URL.entries()) DIGITS_64[code] = i;

/** Encodes bytes as base64url without padding. */
export function toBase64url(bytes: Uint8Array): string {
  const text = new Uint8Array(Math.ceil(bytes.length * 4 / 3));
  let at = 0;
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = held << 8 | byte;
    for (bits += 8; bits >= 6; held &= (1 << bits) - 1) {
      bits -= 6;
      text[at++] = BASE64URL[held >> bits]!;
    }
  }
  if (bits > 0) text[at] = BASE64URL[held << 6 - bits]!;
  return decoder.decode(text);
}

/**
 * Decodes base64url without padding. Returns `null` if it is malformed, has another number of bytes, or
 * is not canonical: two texts for the same bytes would hide a change. (`atob` takes ten times as long.)
 */
export function fromBase64url(value: unknown, length: number): Uint8Array<ArrayBuffer> | null {
  if (typeof value !== "string" || value.length !== Math.ceil(length * 4 / 3)) return null;
  const bytes = new Uint8Array(length);
  let at = 0;
  let held = 0;
  let bits = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = DIGITS_64[value.charCodeAt(i)] ?? NO_DIGIT;
    if (digit === NO_DIGIT) return null;
    held = held << 6 | digit;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = held >> bits;
    held &= (1 << bits) - 1;
  }
  return held === 0 ? bytes : null;
}
