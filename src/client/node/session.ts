/**
 * Sessions on the bus for Deno and Node.
 *
 * @module
 */

import type { StoreError } from "../../core/errors.ts";
import { createNkey } from "../../keys/nkey.ts";
import type { SessionSigner } from "../../keys/signers.ts";
import { type Session, startSession } from "../session/session.ts";
import type { Client } from "../types.ts";

/** Options of {@link openSession}. */
export interface SessionOptions {
  /** Certifies the session's key. */
  identity: SessionSigner;
  /** A client of the control plane, for the URL that it uses and for the control plane's clock. */
  client: Pick<Client, "authority" | "clockOffset">;
  /** How long a certificate is valid, milliseconds, at most one hour, which is the default. */
  lifetime?: number;
  /** Called when a renewal has failed, and when a server asks to sign something that is not a nonce. */
  onProblem?: (error: StoreError) => void;
}

/**
 * Creates a key for connections to the bus and certifies it for the control plane of `client`. The
 * identity itself then signs nothing that a NATS server sends. The certificate is renewed every half hour
 * until the session is closed. Use it if every node that `client.nodes()` lists has `sessions`;
 * {@link openRooms} does.
 *
 * @throws {StoreError} `invalid`: `lifetime` is more than one hour
 *
 * @example
 * ```ts
 * import { createClient, createIdentity, openSession } from "@unibus/membership/client";
 *
 * const identity = createIdentity();
 * using client = createClient({ url: "https://bus.example:8470", identity });
 * using session = await openSession({ identity, client });
 * const { authenticator, inboxPrefix } = session; // for `connect` of a NATS client
 * if (inboxPrefix === `_INBOX.${identity.nkey}`) throw new Error("unreachable");
 * if (authenticator("not a nonce").sig !== "") throw new Error("unreachable");
 * ```
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { publicKey, signNonce } = createNkey("user");
  return await startSession({ ...options, key: { nkey: publicKey, signNonce } });
}
