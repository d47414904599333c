/**
 * The `Content-Digest` field (RFC 9530), SHA-256.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { isInnerList, parseDictionary } from "structured-headers";
import { digestField } from "./digest_field.ts";

/** Longer fields are rejected: all registered algorithms together fit in half of it. */
const MAX_LENGTH = 1024;

/**
 * Returns the value of `Content-Digest` for a body.
 *
 * @example
 * ```ts
 * digestOf(new TextEncoder().encode("hello")); // sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:
 * ```
 */
export function digestOf(body: Uint8Array): string {
  return digestField(createHash("sha256").update(body).digest());
}

/**
 * Returns the SHA-256 in a `Content-Digest`, which may have other algorithms too, or `null` if the field
 * is malformed or has none.
 */
export function parseDigest(field: string): Uint8Array | null {
  if (field.length > MAX_LENGTH) return null;
  try {
    const member = parseDictionary(field).get("sha-256");
    if (member === undefined || isInnerList(member)) return null;
    const [value] = member;
    return value instanceof ArrayBuffer && value.byteLength === 32 ? new Uint8Array(value) : null;
  } catch {
    return null;
  }
}
