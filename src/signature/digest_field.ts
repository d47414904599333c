/**
 * The form of `Content-Digest` and `Signature`: bytes between colons (RFC 8941). Without `node:`
 * modules, because the browser's pages sign with the same text.
 *
 * @module
 */

/** Base64 with padding. For keys, digests and signatures: not made for long input. */
export function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** The value of `Content-Digest` for a SHA-256 that is already known. */
export function digestField(sha256: Uint8Array): string {
  return `sha-256=:${base64(sha256)}:`;
}
