/**
 * Encodes and decodes the JSON web tokens that a nats-server and its auth callout exchange, signed
 * with an nkey.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { toHex } from "../../keys/bytes.ts";
import { verifies } from "../../keys/ed25519.ts";
import { FIRST_BYTES } from "../../keys/forms.ts";
import { decodePublic, type NkeyKind, type NkeyPair } from "../../keys/nkey.ts";

/** `{"typ":"JWT","alg":"ed25519-nkey"}` */
const HEADER = FIRST_BYTES.token.slice(0, -1);

/** The claims of a token. */
export interface Claims {
  /** Issuer: the key that signed it; set by {@link encodeJwt}. */
  iss?: string;
  /** Subject. */
  sub: string;
  /** Audience. */
  aud?: string;
  /** Display name. */
  name?: string;
  /** Issue time in seconds; set by {@link encodeJwt}. */
  iat?: number;
  /** Expiry in seconds. */
  exp?: number;
  /** Claims defined by NATS. */
  nats: Record<string, unknown>;
}

/**
 * Encodes and signs a token. It has no ID (`jti`): the server ignores it, and no token is used
 * twice.
 */
export function encodeJwt(claims: Claims, signer: NkeyPair): string {
  const body = { ...claims, iss: signer.publicKey, iat: Math.floor(Date.now() / 1000) };
  const text = `${HEADER}.${Buffer.from(JSON.stringify(body)).toString("base64url")}`;
  return `${text}.${Buffer.from(signer.signToken(text)).toString("base64url")}`;
}

/**
 * Decodes a token and verifies the signature by its issuer, a key of the given kind. Returns `null`
 * if it is invalid.
 */
export function decodeJwt(token: string, signer: NkeyKind): Claims | null {
  const parts = token.split(".");
  if (parts.length !== 3) return null;
  const [header, body, signature] = parts as [string, string, string];
  try {
    const { typ, alg } = JSON.parse(Buffer.from(header, "base64url").toString());
    if (typ !== "JWT" || alg !== "ed25519-nkey") return null;
    const claims = JSON.parse(Buffer.from(body, "base64url").toString());
    if (typeof claims?.iss !== "string" || typeof claims.sub !== "string") return null;
    if (typeof claims.nats !== "object" || claims.nats === null) return null;
    const issuer = decodePublic(signer, claims.iss);
    const data = Buffer.from(`${header}.${body}`);
    const isSigned = issuer !== null &&
      verifies(toHex(issuer), data, Buffer.from(signature, "base64url"));
    return isSigned ? claims : null;
  } catch {
    return null;
  }
}
