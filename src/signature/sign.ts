/**
 * Signs requests (RFC 9421, Ed25519). Has no `node:` imports, because the browser's pages use it too.
 *
 * @module
 */

import { toBase64url } from "../keys/bytes.ts";
import { signatureBase, targetOf } from "./base.ts";
import { base64 } from "./digest_field.ts";
import type { Signer } from "../keys/signers.ts";

export type { Signer };

/** A request to sign. */
export interface Signable {
  /** The method, in the case in which it is sent. */
  method: string;
  /** The absolute URL; its fragment is neither sent nor signed. */
  url: string | URL;
  /** The value of `Content-Digest` if there is a body; see `digestOf`. */
  digest?: string;
}

/** Options of {@link signRequest}. */
export interface SignOptions {
  /** Time of the request. Default now. */
  created?: Date;
  /** A value used only once. Default 18 random bytes, base64url. */
  nonce?: string;
}

/**
 * Signs a request: method, authority, target and digest of the body.
 *
 * @returns The header fields to add: `signature-input`, `signature` and, with a body, `content-digest`
 */
export async function signRequest(
  request: Signable,
  signer: Signer,
  options: SignOptions = {},
): Promise<Record<string, string>> {
  const { href, host, protocol } = new URL(request.url);
  // As text, because the parts of a URL do not distinguish an empty query from none.
  const target = targetOf(request.method, href.split("#", 1)[0]!, host);
  if (target === null) throw new TypeError(`Only http and https are signed, found ${protocol}`);
  const created = Math.floor((options.created ?? new Date()).getTime() / 1000);
  const nonce = options.nonce ?? toBase64url(crypto.getRandomValues(new Uint8Array(18)));

  const components = ['"@method"', '"@authority"', '"@request-target"'];
  if (request.digest !== undefined) components.push('"content-digest"');
  const params = `(${components.join(" ")});created=${created};nonce="${nonce}"` +
    `;keyid="${signer.signPub}";alg="ed25519"`;
  // No other field is covered.
  const fields = { get: () => request.digest ?? null };
  const signature = await signer.signRequest(
    new TextEncoder().encode(signatureBase(components, params, target, fields)),
  );
  return {
    ...(request.digest !== undefined && { "content-digest": request.digest }),
    "signature-input": `sig=${params}`,
    "signature": `sig=:${base64(signature)}:`,
  };
}
