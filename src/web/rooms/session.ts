/// <reference lib="dom" />
/**
 * The session of this page on the bus: a key in memory, certified by the identity for the page's server.
 *
 * @module
 */

import { nkeys } from "@nats-io/nats-core";
import { type Session, type SessionParts, startSession } from "../../client/session/session.ts";
import { utf8 } from "../../keys/bytes.ts";

/**
 * Creates a key and certifies it. The certificate is renewed until the session is closed.
 *
 * @param identity Certifies the key
 * @param server Knows how far the server's clock is ahead
 */
export function openSession(
  identity: SessionParts["identity"],
  server: { readonly clockOffset: number },
): Promise<Session> {
  const pair = nkeys.createUser();
  return startSession({
    identity,
    key: { nkey: pair.getPublicKey(), signNonce: (nonce) => pair.sign(utf8(nonce)) },
    client: {
      authority: location.host,
      get clockOffset() {
        return server.clockOffset;
      },
    },
  });
}
