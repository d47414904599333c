/**
 * Bytes: put together, and read from text in the one way they are written.
 *
 * @module
 */

const encoder = new TextEncoder();

/** UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** Puts parts together. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, it) => sum + it.length, 0));
  let at = 0;
  for (const it of parts) {
    all.set(it, at);
    at += it.length;
  }
  return all;
}

/** A whole number in so many bytes, the highest first. */
export function uint(value: number, bytes: 2 | 4 | 8): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(bytes);
  const view = new DataView(all.buffer);
  if (bytes === 2) view.setUint16(0, value);
  else if (bytes === 4) view.setUint32(0, value);
  else view.setBigUint64(0, BigInt(value));
  return all;
}

/** Text, with its length in bytes in front. */
export function sized(text: string): Uint8Array<ArrayBuffer> {
  const bytes = utf8(text);
  return concat(uint(bytes.length, 2), bytes);
}

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

/** Bytes as lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const it of bytes) text += HEX[it];
  return text;
}

/** The bytes of lower-case hex that was checked before. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Base64url without padding. */
export function toBase64url(bytes: Uint8Array): string {
  let text = "";
  for (const it of bytes) text += String.fromCharCode(it);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * Reads base64url without padding; `null` when it is not that, not so many bytes, or not the one way
 * to write them: of two texts for the same bytes one would be a change nobody finds.
 */
export function fromBase64url(value: unknown, length: number): Uint8Array<ArrayBuffer> | null {
  if (typeof value !== "string" || value.length !== Math.ceil(length * 4 / 3)) return null;
  if (!/^[\w-]*$/.test(value)) return null;
  const text = atob(value.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(text, (it) => it.charCodeAt(0));
  return toBase64url(bytes) === value ? bytes : null;
}
