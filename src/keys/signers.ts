/**
 * What can sign, by the kind of thing it signs.
 *
 * @module
 */

/** Signs requests. */
export interface Signer {
  /** Ed25519 public key, hex: the key id. */
  readonly signPub: string;
  /** The 64 bytes of an Ed25519 signature over a request's signature base (RFC 9421). */
  signRequest(base: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** A NATS user key that signs nonces; an identity is one. */
export interface NonceSigner {
  /** The public key (`U…`). */
  readonly nkey: string;
  /** Signs the nonce of a server; throws for what does not have the form of one. */
  signNonce(nonce: string): Uint8Array;
}
