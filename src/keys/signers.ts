/**
 * Interfaces of signers, one for each kind of data.
 *
 * @module
 */

import type { NewSession } from "./codec/session.ts";

/** Signs HTTP requests. */
export interface Signer {
  /** Ed25519 public key, hex: the key id. */
  readonly signPub: string;
  /** Signs a request's signature base (RFC 9421); returns an Ed25519 signature of 64 bytes. */
  signRequest(base: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** Signs nonces with a NATS user key. An identity is one, and so is a session. */
export interface NonceSigner {
  /** The public key (`U…`). */
  readonly nkey: string;
  /** The certificate of a session's key, which is sent along as the token. */
  readonly certificate?: string;
  /** Signs the nonce of a server; throws for data that does not have the form of one. */
  signNonce(nonce: string): Uint8Array;
}

/** Certifies the keys of sessions. An identity does. */
export interface SessionSigner {
  /** Ed25519 public key, hex. */
  readonly signPub: string;
  /** Signs the certificate of a session's key, for one server and at most one hour. */
  signSession(session: NewSession): Uint8Array | Promise<Uint8Array>;
}
