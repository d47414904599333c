/**
 * Signed requests: HTTP message signatures (RFC 9421) with Ed25519, and body digests (RFC 9530).
 * The key id is the signer's public key.
 *
 * @module
 */

export type { Fields } from "./base.ts";
export { digestOf, parseDigest } from "./digest.ts";
export { digestField } from "./digest_field.ts";
export { type Freshness, ReplayGuard, type ReplayGuardOptions } from "./replay.ts";
export { type Signable, type Signer, type SignOptions, signRequest } from "./sign.ts";
export { type Proof, type SignedRequest, type VerifyOptions, verifyRequest } from "./verify.ts";
