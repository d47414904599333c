/**
 * Verifying signed requests (RFC 9421, Ed25519).
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

/** A request as a server has it; a Fetch `Request` is one. */
export interface SignedRequest {
  /** The method, as received. */
  readonly method: string;
  /** The absolute URL, as received. */
  readonly url: string;
  /** Its fields, with the values of repeated ones joined by `", "`. */
  readonly headers: Fields;
}

/** What a server demands. */
export interface VerifyOptions {
  /** The server's clock. */
  now: () => Date;
  /** How long ago `created` may be, milliseconds. */
  windowMs: number;
  /** How far ahead of the server's clock it may be, milliseconds. Default `windowMs`. */
  aheadMs?: number;
  /**
   * The names the server goes by (host and port, lower-case, no default port). A request signed for
   * another is refused: else whoever runs another control plane could pass on what was signed for it.
   * Default: any.
   */
  authorities?: ReadonlySet<string>;
}

/** What a verified signature proves. */
export interface Proof {
  /** Who signed, hex in lower case. Whether that is a user, the store knows. */
  signPub: string;
  /** When. */
  created: Date;
  /** Never used twice by a signer; see {@link ReplayGuard}. */
  nonce: string;
  /** The authority it was signed for. */
  authority: string;
  /**
   * SHA-256 of the body that was signed; `null` where no body was. Whoever reads a body must compare:
   * a digest that is signed says nothing about the bytes that came, nor does a body that was not
   * announced need one.
   */
  digest: Uint8Array | null;
}

/** Bounds of what is read at all, so that judging a hostile request costs little. */
const MAX = { field: 4096, labels: 4, components: 16, nonce: 128 };
const MIN_NONCE = 8;

/**
 * Verifies the signature of a request. Covered must be `@method`, `@authority`, the target
 * (`@request-target`, `@target-uri`, or `@path` with `@query`) and, where there is a body,
 * `content-digest`; the parameters `created`, `nonce`, `keyid`. Replay is not looked at here.
 *
 * @throws {StoreError} `unauthenticated`, whatever is wrong; the message says what and `field` names
 * the part at fault: `signature-input`, `signature`, `content-digest`, `authority`, `keyid`, `nonce`,
 * `created` (also when a clock is off) or `expires`
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
    throw refuse("signature", "A signed request needs an http URL without fragment");
  }
  const base = signatureBase(components, text, target, headers);
  const covered = new Set(components);
  demand(covered, headers);
  if (options.authorities?.has(target.authority) === false) {
    throw refuse("authority", `This server is not ${check.show(target.authority)}`);
  }
  const digest = covered.has('"content-digest"') ? signedDigest(headers) : null;

  if (!verify(null, Buffer.from(base), keyOf(keyid), signature)) {
    // Tells whether something in between changed the path.
    const path = check.show(target.path);
    throw refuse("signature", `The signature does not fit the key and a request for ${path}`);
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

/** The first signature that could be a user's. Others, such as a proxy's, are not looked at. */
function choose(field: string): SignatureInput {
  const inputs = parseInput(field, MAX.labels);
  if (inputs === null) {
    throw refuse(
      "signature-input",
      `Signature-Input must hold 1 to ${MAX.labels} lists of components in strict form (RFC 9421)`,
    );
  }
  const input = inputs.find(({ params }) =>
    (params.get("alg") ?? "ed25519") === "ed25519" && check.hex64(params.get("keyid")) !== null
  );
  if (input === undefined) {
    throw refuse(
      "signature-input",
      "No signature is of alg ed25519 with a keyid of 64 hex digits, the public key",
    );
  }
  if (input.components.length > MAX.components) {
    throw refuse(
      "signature-input",
      `At most ${MAX.components} components are read, found ${input.components.length}`,
    );
  }
  return input;
}

function signatureOf(field: string, label: string): Uint8Array {
  const signature = parseSignature(field, label);
  if (signature?.length !== 64) {
    throw refuse("signature", "Signature must hold 64 bytes under the label of Signature-Input");
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
    throw refuse("created", "The time created must be given, in whole seconds");
  }
  const age = now - created * 1000;
  const most = age > 0 ? options.windowMs : options.aheadMs ?? options.windowMs;
  // Said with the server's own time: a client whose clock is off cannot know otherwise.
  if (Math.abs(age) > most) {
    throw refuse(
      "created",
      `The request was created ${Math.abs(Math.round(age / 1000))} s ${
        age > 0 ? "before" : "after"
      } the server's time, at most ${Math.floor(most / 1000)} s is accepted`,
    );
  }
  if (expires !== undefined) {
    if (typeof expires !== "number" || !Number.isSafeInteger(expires)) {
      throw refuse("expires", "The time expires must be in whole seconds");
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
    throw refuse("content-digest", "The signature must cover content-digest, there is a body");
  }
}

function hasBody(headers: Fields): boolean {
  return (headers.get("content-length") ?? "0") !== "0" ||
    headers.get("transfer-encoding") !== null || headers.get("content-digest") !== null;
}

function signedDigest(headers: Fields): Uint8Array {
  const digest = parseDigest(headers.get("content-digest") ?? "");
  if (digest === null) throw refuse("content-digest", "Content-Digest must hold a sha-256");
  return digest;
}

function keyOf(keyid: string): KeyObject {
  try {
    return publicKey(keyid);
  } catch (error) {
    throw refuse("keyid", "The keyid is not an Ed25519 public key", error);
  }
}
