/**
 * Proving to a NATS server who we are: the one place where a key of ours answers a server.
 *
 * A server chooses what is signed. The authenticators of the NATS library sign whatever comes, so a
 * false server could have a request to the control plane signed as its "nonce"; ours signs nonces only.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { StoreError } from "../../core/errors.ts";
import { isNonce } from "../../keys/forms.ts";
import type { NonceSigner } from "../../keys/signers.ts";

/** How {@link natsAuthenticator} works. */
export interface NatsAuthenticatorOptions {
  /** A token to show along with the key, as a `.creds` file holds one. */
  jwt?: string;
  /**
   * Called when a server asks for a signature of what is no nonce. It gets none, and so refuses us
   * unless it is a false one.
   */
  onProblem?: (error: StoreError) => void;
}

/** What NATS clients for JavaScript take as `authenticator`. */
export type NatsAuthenticator = (
  nonce?: string,
) => { nkey: string; sig: string; jwt?: string };

/**
 * Makes the authenticator of a key, for the `connect` of a NATS client. It never throws, because that
 * would end the connection for good.
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
    // A server that asks nobody who they are sends none.
    if (nonce === undefined || nonce === "") return unsigned;
    try {
      if (!isNonce(nonce)) throw notANonce(nonce);
      const sig = Buffer.from(signer.signNonce(nonce)).toString("base64");
      return { ...unsigned, sig };
    } catch (error) {
      try {
        onProblem(problemOf(error));
      } catch { /* A server must not be able to end the connection for good by it. */ }
      return unsigned;
    }
  };
}

function notANonce(nonce: unknown): StoreError {
  const found = typeof nonce === "string" ? `${nonce.length} characters` : typeof nonce;
  return new StoreError(
    "refused",
    "The server asked for a signature of something that is not a nonce " +
      `(15 to 64 characters of base64url, found ${found}), and got none: it may be a false server`,
  );
}

function problemOf(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  return new StoreError("refused", "Signing the server's nonce failed", { cause: error });
}
