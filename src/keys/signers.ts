/**
 * Interfaces of signers, one for each kind of data.
 *
 * @module
 */

/** Signs HTTP requests. */
export interface Signer {
  /** Ed25519 public key, hex: the key id. */
  readonly signPub: string;
  /** Signs a request's signature base (RFC 9421); returns an Ed25519 signature of 64 bytes. */
  signRequest(base: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** Signs nonces with a NATS user key. An identity is one. */
export interface NonceSigner {
  /** The public key (`U…`). */
  readonly nkey: string;
  /** Signs the nonce of a server; throws for data that does not have the form of one. */
  signNonce(nonce: string): Uint8Array;
}
