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
 * @param client The server that it is certified for, and how far its clock is ahead
 */
export function openSession(
  identity: SessionParts["identity"],
  client: SessionParts["client"],
): Promise<Session> {
  const pair = nkeys.createUser();
  return startSession({
    identity,
    key: { nkey: pair.getPublicKey(), signNonce: (nonce) => pair.sign(utf8(nonce)) },
    client,
  });
}
