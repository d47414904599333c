/**
 * The tokens that a nats-server and its callout exchange: JSON web tokens signed with an nkey.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { KeyObject } from "node:crypto";
import { FIRST_BYTES } from "../../keys/forms.ts";
import {
  decodePublic,
  type NkeyKind,
  type NkeyPair,
  verifies,
  verifyingKey,
} from "../../keys/nkey.ts";

/** `{"typ":"JWT","alg":"ed25519-nkey"}` */
const HEADER = FIRST_BYTES.token.slice(0, -1);

/** What a token says. */
export interface Claims {
  /** Who signed it; set by {@link encodeJwt}. */
  iss?: string;
  /** Whom it is about. */
  sub: string;
  /** Whom it is for. */
  aud?: string;
  /** A name for people. */
  name?: string;
  /** When it was made, seconds; set by {@link encodeJwt}. */
  iat?: number;
  /** When it ends, seconds. */
  exp?: number;
  /** What NATS adds. */
  nats: Record<string, unknown>;
}

/** Writes and signs a token. Without an id (`jti`): the server looks at none, and none is used twice. */
export function encodeJwt(claims: Claims, signer: NkeyPair): string {
  const body = { ...claims, iss: signer.publicKey, iat: Math.floor(Date.now() / 1000) };
  const text = `${HEADER}.${Buffer.from(JSON.stringify(body)).toString("base64url")}`;
  return `${text}.${Buffer.from(signer.signToken(text)).toString("base64url")}`;
}

/**
 * Reads a token and verifies that who it names as its signer, a key of this kind, signed it. `null`
 * when anything is odd.
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
    const key = keyOf(claims.iss, signer);
    const data = Buffer.from(`${header}.${body}`);
    if (key === null || !verifies(key, data, Buffer.from(signature, "base64url"))) return null;
    return claims;
  } catch {
    return null;
  }
}

const keys = new Map<string, KeyObject>();

/** The verifying key of a signer. Those who sign are few and come again and again. */
function keyOf(nkey: string, kind: NkeyKind): KeyObject | null {
  const known = keys.get(`${kind} ${nkey}`);
  if (known !== undefined) return known;
  const raw = decodePublic(kind, nkey);
  if (raw === null) return null;
  if (keys.size >= 64) keys.clear();
  const key = verifyingKey(raw);
  keys.set(`${kind} ${nkey}`, key);
  return key;
}
