/**
 * Builds and encodes bytes. Decoding accepts only the canonical encoding.
 *
 * @module
 */

const encoder = new TextEncoder();

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

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

/** Encodes bytes as lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/** The value of each hex digit, by its character code. */
const DIGITS = new Uint8Array(128);
for (let i = 0; i < 16; i++) DIGITS[i.toString(16).charCodeAt(0)] = i;

/** Decodes lower-case hex that has been validated. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = DIGITS[hex.charCodeAt(2 * i)]! << 4 | DIGITS[hex.charCodeAt(2 * i + 1)]!;
  }
  return bytes;
}

/** Encodes bytes as base64url without padding. */
export function toBase64url(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * Decodes base64url without padding. Returns `null` if it is malformed, has another number of bytes, or
 * is not canonical: two texts for the same bytes would hide a change.
 */
export function fromBase64url(value: unknown, length: number): Uint8Array<ArrayBuffer> | null {
  if (typeof value !== "string" || value.length !== Math.ceil(length * 4 / 3)) return null;
  if (!/^[\w-]*$/.test(value)) return null;
  const text = atob(value.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(text, (it) => it.charCodeAt(0));
  return toBase64url(bytes) === value ? bytes : null;
}
