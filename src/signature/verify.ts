/**
 * Verifies signed requests (RFC 9421, Ed25519).
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type KeyObject, verify } from "node:crypto";
import * as check from "../core/validate.ts";
import { type Fields, signatureBase, targetOf } from "./base.ts";
import { parseInput, parseSignature, type SignatureInput } from "./fields.ts";
import { parseDigest } from "./digest.ts";
import { publicKey } from "../keys/ed25519.ts";
import { refuse } from "./refuse.ts";

/** A request as a server received it, such as a Fetch `Request`. */
export interface SignedRequest {
  /** The method, as received. */
  readonly method: string;
  /** The absolute URL, as received. */
  readonly url: string;
  /** Its header fields, with the values of repeated ones joined by `", "`. */
  readonly headers: Fields;
}

/** Options of {@link verifyRequest}. */
export interface VerifyOptions {
  /** The server's clock. */
  now: () => Date;
  /** Maximum age of `created`, milliseconds. */
  windowMs: number;
  /** Maximum time that `created` may be ahead of the server's clock, milliseconds. Default `windowMs`. */
  aheadMs?: number;
  /**
   * The server's names (host and port, lower-case, no default port). A request signed for another name is
   * refused, because the operator of another control plane could forward a request signed for that one.
   * Default: any.
   */
  authorities?: ReadonlySet<string>;
}

/** What a verified signature proves. */
export interface Proof {
  /** The key that signed, hex in lower case. It need not belong to a user. */
  signPub: string;
  /** When the request was created. */
  created: Date;
  /** A signer uses each nonce only once; see {@link ReplayGuard}. */
  nonce: string;
  /** The authority it was signed for. */
  authority: string;
  /**
   * SHA-256 of the signed body; `null` if no body was signed. The caller must compare it with the body it
   * reads, and must refuse a body if this is `null`.
   */
  digest: Uint8Array | null;
}

/** Limits that keep the cost of a malicious request low. */
const MAX = { field: 4096, labels: 4, components: 16, nonce: 128 };
const MIN_NONCE = 8;

/**
 * Verifies the signature of a request. It must cover `@method`, `@authority`, the target
 * (`@request-target`, `@target-uri`, or `@path` with `@query`), the parameters `created`, `nonce` and
 * `keyid`, and `content-digest` if there is a body. Does not detect replays.
 *
 * @throws {StoreError} `unauthenticated`: the message says why, and `field` names the invalid part:
 * `signature-input`, `signature`, `content-digest`, `authority`, `keyid`, `nonce`, `created` (also if a
 * clock is wrong) or `expires`
 */
export function verifyRequest(request: SignedRequest, options: VerifyOptions): Proof {
  const { headers } = request;
  const { label, components, params, text } = choose(field(headers, "signature-input"));
  const signature = signatureOf(field(headers, "signature"), label);
  const keyid = signer(params.get("keyid"));
  const created = times(params.get("created"), params.get("expires"), options);
  const nonce = params.get("nonce");
  if (typeof nonce !== "string" || nonce.length < MIN_NONCE || nonce.length > MAX.nonce) {
    throw refuse("nonce", `The nonce must be a string of ${MIN_NONCE} to ${MAX.nonce} characters`);
  }

  const target = targetOf(request.method, request.url, headers.get("host"));
  if (target === null) {
    throw refuse("signature", "A signed request must have an http URL without fragment");
  }
  const base = signatureBase(components, text, target, headers);
  const covered = new Set(components);
  demand(covered, headers);
  if (options.authorities?.has(target.authority) === false) {
    throw refuse("authority", `This server is not ${check.show(target.authority)}`);
  }
  const digest = covered.has('"content-digest"') ? signedDigest(headers) : null;

  if (!verify(null, Buffer.from(base), publicKeyOf(keyid), signature)) {
    // The path shows whether a proxy has changed it.
    const path = check.show(target.path);
    throw refuse("signature", `The signature is not valid for its key and a request for ${path}`);
  }
  return { signPub: keyid, created, nonce, authority: target.authority, digest };
}

const TITLE = { "signature-input": "Signature-Input", "signature": "Signature" } as const;
type Field = keyof typeof TITLE;

function field(headers: Fields, name: Field): string {
  const value = headers.get(name);
  if (value === null) throw refuse(name, `The request is not signed: it has no ${TITLE[name]}`);
  if (value.length > MAX.field) {
    throw refuse(name, `${TITLE[name]} must be at most ${MAX.field} bytes, found ${value.length}`);
  }
  return value;
}

/** Returns the first signature that may be a user's. Others, such as a proxy's, are ignored. */
function choose(field: string): SignatureInput {
  const inputs = parseInput(field, MAX.labels);
  if (inputs === null) {
    throw refuse(
      "signature-input",
      `Signature-Input must have 1 to ${MAX.labels} lists of components in strict form (RFC 9421)`,
    );
  }
  const input = inputs.find(({ params }) =>
    (params.get("alg") ?? "ed25519") === "ed25519" && check.hex64(params.get("keyid")) !== null
  );
  if (input === undefined) {
    throw refuse(
      "signature-input",
      "No signature has alg ed25519 and a public key of 64 hex digits as keyid",
    );
  }
  if (input.components.length > MAX.components) {
    throw refuse(
      "signature-input",
      `At most ${MAX.components} components are allowed, found ${input.components.length}`,
    );
  }
  return input;
}

function signatureOf(field: string, label: string): Uint8Array {
  const signature = parseSignature(field, label);
  if (signature?.length !== 64) {
    throw refuse("signature", "Signature must have 64 bytes with the label of Signature-Input");
  }
  return signature;
}

function signer(keyid: unknown): string {
  try {
    return check.signPub("keyid", keyid);
  } catch (error) {
    throw refuse("keyid", `The ${(error as Error).message}`);
  }
}

function times(created: unknown, expires: unknown, options: VerifyOptions): Date {
  const now = options.now().getTime();
  if (typeof created !== "number" || !Number.isSafeInteger(created)) {
    throw refuse("created", "The parameter created must be a time in whole seconds");
  }
  const age = now - created * 1000;
  const most = age > 0 ? options.windowMs : options.aheadMs ?? options.windowMs;
  // Tells a client with a wrong clock how wrong it is.
  if (Math.abs(age) > most) {
    throw refuse(
      "created",
      `The request was created ${Math.abs(Math.round(age / 1000))} s ${
        age > 0 ? "before" : "after"
      } the server's time, at most ${Math.floor(most / 1000)} s is allowed`,
    );
  }
  if (expires !== undefined) {
    if (typeof expires !== "number" || !Number.isSafeInteger(expires)) {
      throw refuse("expires", "The parameter expires must be a time in whole seconds");
    }
    if (expires * 1000 <= now) throw refuse("expires", "The signature has expired");
  }
  return new Date(created * 1000);
}

function demand(covered: ReadonlySet<string>, headers: Fields): void {
  for (const component of ['"@method"', '"@authority"']) {
    if (!covered.has(component)) {
      throw refuse("signature-input", `The signature must cover ${component}`);
    }
  }
  if (
    !covered.has('"@request-target"') && !covered.has('"@target-uri"') &&
    !(covered.has('"@path"') && covered.has('"@query"'))
  ) {
    throw refuse(
      "signature-input",
      'The signature must cover "@request-target", "@target-uri", or "@path" and "@query"',
    );
  }
  if (!covered.has('"content-digest"') && hasBody(headers)) {
    throw refuse(
      "content-digest",
      "The signature of a request with a body must cover content-digest",
    );
  }
}

function hasBody(headers: Fields): boolean {
  return (headers.get("content-length") ?? "0") !== "0" ||
    headers.get("transfer-encoding") !== null || headers.get("content-digest") !== null;
}

function signedDigest(headers: Fields): Uint8Array {
  const digest = parseDigest(headers.get("content-digest") ?? "");
  if (digest === null) throw refuse("content-digest", "Content-Digest must have a sha-256");
  return digest;
}

function publicKeyOf(keyid: string): KeyObject {
  try {
    return publicKey(keyid);
  } catch (error) {
    throw refuse("keyid", "The keyid is not an Ed25519 public key", error);
  }
}
