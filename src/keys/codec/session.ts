/**
 * Session certificates: an identity certifies a key for one server and at most one hour, so that the
 * identity's own key does not sign what NATS servers send. `docs/nats.md` describes the format. Has no
 * `node:` imports, because the browser's pages use them too.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import * as check from "../../core/validate.ts";
import { concat, fromBase64url, fromHex, sized, toBase64url, toHex, uint, utf8 } from "../bytes.ts";
import { FIRST_BYTES, isAudience, kindOf } from "../forms.ts";

/** Maximum time between `issued` and `expires` of a certificate, milliseconds. */
export const SESSION_MS = 3_600_000;

const PREFIX = "unibus-session1.";
const SIGNATURE_BYTES = 64;
/** Both keys, both times and the length of the audience. */
const FIXED_BYTES = 32 + 32 + 8 + 8 + 2;

/** What an identity certifies. */
export interface NewSession {
  /** The session's Ed25519 public key, hex. */
  readonly sessionPub: string;
  /** From when it is valid, milliseconds since 1970. */
  readonly issued: number;
  /** Until when it is valid, milliseconds since 1970; at most one hour after `issued`. */
  readonly expires: number;
  /** The authority of the control plane's URL, such as `bus.example:8470`, in lower case. */
  readonly audience: string;
}

/** A certificate that was read. Nothing in it is verified. */
export interface SessionCertificate extends NewSession {
  /** The identity that signed it: an Ed25519 public key, hex. */
  readonly signPub: string;
  /** The signed bytes. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** The signature. */
  readonly signature: Uint8Array<ArrayBuffer>;
}

/**
 * Returns the bytes that the identity signs.
 *
 * @throws {StoreError} `invalid`: a malformed field, or more than one hour
 */
export function sessionBytes(signPub: string, session: NewSession): Uint8Array<ArrayBuffer> {
  const issued = check.integer("issued", session.issued, 0, Number.MAX_SAFE_INTEGER);
  const { sessionPub, expires, audience } = session;
  check.integer("expires", expires, issued + 1, issued + SESSION_MS);
  if (!isAudience(audience)) {
    throw new StoreError(
      "invalid",
      `audience must look like bus.example:8470, found ${check.show(audience)}`,
      { field: "audience" },
    );
  }
  return concat(
    utf8(FIRST_BYTES.session),
    fromHex(check.signPub("signPub", signPub)),
    fromHex(check.signPub("sessionPub", sessionPub)),
    uint(issued, 8),
    uint(expires, 8),
    sized(audience),
  );
}

/** Returns the text of a certificate, which clients send as their token. */
export function formatSession(data: Uint8Array, signature: Uint8Array): string {
  return PREFIX + toBase64url(concat(data.subarray(FIRST_BYTES.session.length), signature));
}

/** Parses a certificate; returns `null` if it is malformed. Does not verify it. */
export function parseSession(text: string): SessionCertificate | null {
  if (!text.startsWith(PREFIX)) return null;
  const encoded = text.slice(PREFIX.length);
  const bytes = fromBase64url(encoded, Math.floor(encoded.length * 3 / 4));
  if (bytes === null) return null;
  const fields = bytes.subarray(0, -SIGNATURE_BYTES);
  const data = concat(utf8(FIRST_BYTES.session), fields);
  if (kindOf(data) !== "session") return null;
  const view = new DataView(bytes.buffer);
  const [issued, expires] = [64, 72].map((at) => Number(view.getBigUint64(at)));
  return {
    signPub: toHex(fields.subarray(0, 32)),
    sessionPub: toHex(fields.subarray(32, 64)),
    issued: issued!,
    expires: expires!,
    audience: new TextDecoder().decode(fields.subarray(FIXED_BYTES)),
    data,
    signature: bytes.subarray(-SIGNATURE_BYTES),
  };
}
