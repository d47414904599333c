/**
 * Verifies the certificate of a session's key, which a client sends as its token.
 *
 * @module
 */

import { SESSION_MS, type SessionCertificate } from "../../keys/codec/session.ts";
import { verifies } from "../../keys/ed25519.ts";
import type { RefusalReason } from "../types.ts";

/** Why a client is refused. */
export interface Flaw {
  reason: RefusalReason;
  detail: string;
}

/** How far a client's clock may be ahead of ours, milliseconds. */
const AHEAD_MS = 60_000;

/**
 * Verifies that an identity has certified a key, and that the certificate is valid now. Does not check
 * its audience.
 *
 * @param session The certificate; null if it is malformed
 * @param key The key of the client
 * @param now Milliseconds since 1970
 */
export function sessionFlaw(
  session: SessionCertificate | null,
  key: string,
  now: number,
): Flaw | null {
  if (session === null) return bad("is malformed");
  const { signPub, sessionPub, issued, expires, data, signature } = session;
  if (sessionPub !== key) return bad("is for another key");
  if (issued > now + AHEAD_MS) return untimely("is from the future; check the clocks");
  if (expires <= now) return untimely("has expired");
  if (expires - issued > SESSION_MS) return untimely("is for more than an hour");
  if (!verifies(signPub, data, signature)) return bad("is not signed by its identity");
  return null;
}

function bad(what: string): Flaw {
  return { reason: "bad_session", detail: `The session certificate ${what}` };
}

function untimely(what: string): Flaw {
  return { reason: "session_time", detail: `The session certificate ${what}` };
}
