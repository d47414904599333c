/**
 * Authentication to a NATS server: the only place where our key signs something that a server sent. Has no
 * `node:` imports, because the browser's pages connect too.
 *
 * The server chooses what is signed. The authenticators of the NATS library sign any string, so a
 * malicious server could send a control plane request as its "nonce" and get it signed; ours signs
 * only strings that have the form of a nonce.
 *
 * @module
 */

import { callQuietly } from "../../core/async/callback.ts";
import { StoreError } from "../../core/errors.ts";
import { toBase64url } from "../../keys/bytes.ts";
import { isNonce } from "../../keys/forms.ts";
import type { NonceSigner } from "../../keys/signers.ts";

/** Options of {@link natsAuthenticator}. */
export interface NatsAuthenticatorOptions {
  /** A user JWT to send along with the key, such as the one in a `.creds` file. */
  jwt?: string;
  /**
   * Called when a server asks for a signature of something that is not a nonce. The server gets no
   * signature; a genuine server then rejects the connection.
   */
  onProblem?: (error: StoreError) => void;
}

/** The `authenticator` option of NATS clients for JavaScript. */
export type NatsAuthenticator = (
  nonce?: string,
) => { nkey: string; sig: string; jwt?: string; auth_token?: string };

/**
 * Creates an authenticator for the `connect` function of a NATS client. The authenticator never
 * throws, because an exception would close the connection permanently. Where the server supports it,
 * {@link openSession} is safer: the identity then signs no nonces.
 *
 * @example
 * ```ts
 * import { createIdentity, natsAuthenticator } from "@unibus/membership/client";
 *
 * const identity = createIdentity();
 * const options = {
 *   servers: "tls://bus.example:4250",
 *   authenticator: natsAuthenticator(identity),
 *   inboxPrefix: `_INBOX.${identity.nkey}`,
 * };
 * if (options.authenticator("not a nonce").sig !== "") throw new Error("unreachable");
 * ```
 */
export function natsAuthenticator(
  signer: NonceSigner,
  { jwt, onProblem = () => {} }: NatsAuthenticatorOptions = {},
): NatsAuthenticator {
  const { nkey } = signer;
  return (nonce) => {
    const unsigned = { nkey, sig: "", ...(jwt === undefined ? {} : { jwt }) };
    // A server without authentication sends no nonce.
    if (nonce === undefined || nonce === "") return unsigned;
    try {
      if (!isNonce(nonce)) throw notANonce(nonce);
      const sig = toBase64url(signer.signNonce(nonce));
      const { certificate } = signer;
      return {
        ...unsigned,
        sig,
        ...(certificate === undefined ? {} : { auth_token: certificate }),
      };
    } catch (error) {
      callQuietly(() => onProblem(problemOf(error)));
      return unsigned;
    }
  };
}

function notANonce(nonce: unknown): StoreError {
  const found = typeof nonce === "string" ? `${nonce.length} characters` : typeof nonce;
  return new StoreError(
    "refused",
    "The server asked to sign something that is not a nonce " +
      `(15 to 64 base64url characters, found ${found}); nothing was signed: ` +
      "the server may be an impostor",
  );
}

function problemOf(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  return new StoreError("refused", "Signing the server's nonce failed", { cause: error });
}
