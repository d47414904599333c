/**
 * The kinds of data that a key may sign. Each kind has a form that no other kind can have, and a signer
 * checks the form before it signs, so that a signature for one purpose is invalid for any other.
 * `docs/security.md` has the table. Has no `node:` imports, because the browser's pages sign too.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { utf8 } from "./bytes.ts";

/** A kind of signed data. */
export type SignedKind =
  | "request"
  | "nonce"
  | "message"
  | "sealed key"
  | "endpoint"
  | "session"
  | "hand-over"
  | "token"
  | "history head";

/** The first bytes of each kind, except nonces, which have no common ones. */
export const FIRST_BYTES = {
  request: '"',
  message: "signature of unibus message v1\0",
  "sealed key": "signature of unibus sealed key v1\0",
  endpoint: "unibus endpoint v1\0",
  session: "unibus bus session v1\0",
  "hand-over": "unibus handover v1\0",
  token: "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.",
  "history head": "unibus history head v1\0",
} as const;

const FIRST = Object.entries(FIRST_BYTES).map(([kind, text]) =>
  [kind as keyof typeof FIRST_BYTES, utf8(text)] as const
);
const NONCE = /^[A-Za-z0-9_-]{15,64}$/;
/** Lines of printable ASCII, the last of which lists what is covered (RFC 9421, 2.5). */
const BASE = /^"[\x20-\x7e\t\n]*"@signature-params": \([\x20-\x7e]*$/;
const TOKEN = /^[\w-]+\.[\w-]+$/;
/** A JSON list of the node's name, a revision, the head of the chain, and the time. */
const HEAD = /^\["[\w.-]{1,64}","\d{1,9}\.\d{1,15}","[0-9a-f]{64}","[\dTZ.:-]{24}"\]$/;
/** The first bytes and both public keys. */
const ENDPOINT_BYTES = FIRST_BYTES.endpoint.length + 64;
/** The authority of a URL: host, or host and port. */
const AUDIENCE = /^[a-z0-9._:[\]-]{1,259}$/;
/** Where the audience's length is, after the first bytes, two public keys and two times. */
const AUDIENCE_AT = FIRST_BYTES.session.length + 80;

/** Returns whether a text has the form of a NATS server's nonce: 15 to 64 characters of base64url. */
export function isNonce(nonce: unknown): nonce is string {
  return typeof nonce === "string" && NONCE.test(nonce);
}

/** Returns whether a text has the form of a session's audience: the authority of a URL, in lower case. */
export function isAudience(audience: unknown): audience is string {
  return typeof audience === "string" && AUDIENCE.test(audience);
}

/** Returns the kind of these bytes, or `null` if they have none. */
export function kindOf(data: Uint8Array): SignedKind | null {
  const [kind] = FIRST.find(([, first]) => first.every((byte, i) => data[i] === byte)) ?? [];
  switch (kind) {
    case "request":
      return BASE.test(latin1(data)) ? kind : null;
    case "token":
      return TOKEN.test(latin1(data)) ? kind : null;
    case "endpoint":
      return data.length === ENDPOINT_BYTES ? kind : null;
    case "session":
      return isSession(data) ? kind : null;
    case "hand-over":
      return isHandover(data) ? kind : null;
    case "history head":
      return HEAD.test(latin1(data.subarray(FIRST_BYTES[kind].length))) ? kind : null;
    case undefined:
      return data.length <= 64 && isNonce(latin1(data)) ? "nonce" : null;
    default:
      return kind;
  }
}

/**
 * Checks the form of data to be signed.
 *
 * @throws {StoreError} `refused`: it does not have the form of its kind
 */
export function demandKind(kind: SignedKind, data: Uint8Array): void {
  if (kindOf(data) === kind) return;
  throw new StoreError(
    "refused",
    `Signing a ${kind}: the ${data.length} bytes do not have the form of one`,
  );
}

function isSession(data: Uint8Array): boolean {
  const audience = data.subarray(AUDIENCE_AT + 2);
  return AUDIENCE.test(latin1(audience)) &&
    data[AUDIENCE_AT] === audience.length >> 8 && data[AUDIENCE_AT + 1] === (audience.length & 255);
}

/** Reports whether a room's id, both keys and an epoch follow the first bytes. */
function isHandover(data: Uint8Array): boolean {
  const at = FIRST_BYTES["hand-over"].length;
  const id = 256 * (data[at] ?? 0) + (data[at + 1] ?? 0);
  return id > 0 && id <= 256 && data.length === at + 2 + id + 32 + 32 + 4;
}

/** Decodes each byte as one character, so that only ASCII matches ASCII. */
function latin1(data: Uint8Array): string {
  return new TextDecoder("latin1").decode(data);
}
