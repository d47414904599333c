/**
 * The format of `Content-Digest` and `Signature`: bytes between colons (RFC 8941). Has no `node:` imports,
 * because the browser's pages sign too.
 *
 * @module
 */

/** Encodes keys, digests or signatures as base64 with padding. Not suited for long input. */
export function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Returns the value of `Content-Digest` for a SHA-256. */
export function digestField(sha256: Uint8Array): string {
  return `sha-256=:${base64(sha256)}:`;
}
