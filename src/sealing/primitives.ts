/**
 * What sealing needs of its surroundings: the cryptographic primitives, and the keys of one peer. Deno and
 * Node have them in `node:crypto` (`primitives_node.ts`), browsers in Web Crypto (`primitives_web.ts`).
 *
 * @module
 */

import type { Signer } from "../keys/signers.ts";

/** A value that may take a while. Web Crypto is asynchronous, `node:crypto` is not. */
export type Awaitable<T> = T | Promise<T>;

/** AES-256-GCM with one key. */
export interface Cipher {
  /** Encrypts; returns the ciphertext and the tag of 16 bytes. */
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Awaitable<Uint8Array>;
  /** Decrypts the ciphertext with its tag; throws if either was changed. */
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Awaitable<Uint8Array>;
}

/** Size of an encapsulated secret of HPKE, an X25519 public key. */
export const ENC_BYTES = 32;
/** Number of bytes by which a ciphertext is longer than the plaintext: the tag of AES-256-GCM. */
export const TAG_BYTES = 16;

/** Bytes sealed with HPKE (RFC 9180). */
export interface Sealed {
  /** The encapsulated secret, an X25519 public key. */
  enc: Uint8Array;
  /** The ciphertext with its tag. */
  ciphertext: Uint8Array;
}

/** Seals bytes for an X25519 key of 32 bytes with HPKE. */
export type HpkeSeal = (
  kexPub: Uint8Array,
  info: Uint8Array,
  plaintext: Uint8Array,
) => Awaitable<Sealed>;

/** The primitives. */
export interface Primitives {
  /** HKDF-SHA-256. */
  hkdf(
    key: Uint8Array,
    salt: Uint8Array,
    info: Uint8Array,
    length: number,
  ): Awaitable<Uint8Array>;
  /** Imports a key of 32 bytes for AES-256-GCM. */
  aesGcm(key: Uint8Array): Awaitable<Cipher>;
  /** Returns whether an Ed25519 signature is valid; `false` for malformed input too. */
  verifies(signPub: string, data: Uint8Array, signature: Uint8Array): Awaitable<boolean>;
  hpkeSeal: HpkeSeal;
  /** Runs work that seals for very many with an `hpkeSeal` that uses more than one processor. */
  inThreads?<T>(work: (hpkeSeal: HpkeSeal) => Promise<T>): Promise<T>;
}

/** The keys of one peer, as rooms use them. Nothing here gives out a private key. */
export interface RoomKeys extends Signer {
  /** X25519 public key, hex: room keys are sealed to it. */
  readonly kexPub: string;
  /** Signs a sealed message of a room. */
  signMessage(data: Uint8Array): Awaitable<Uint8Array>;
  /** Signs a room key that was sealed for a member. */
  signSealedKey(data: Uint8Array): Awaitable<Uint8Array>;
  /** Signs that another member owns a room from now on. */
  signHandover(data: Uint8Array): Awaitable<Uint8Array>;
  /** Opens bytes sealed for `kexPub`; throws if they were not, or with other `info`. */
  hpkeOpen(info: Uint8Array, sealed: Sealed): Awaitable<Uint8Array>;
}

/** Returns the keys of one peer as rooms use them: of what can sign, only that for rooms. */
export function roomKeysWith(
  keys: Omit<RoomKeys, "hpkeOpen">,
  hpkeOpen: RoomKeys["hpkeOpen"],
): RoomKeys {
  const { signPub, kexPub, signRequest, signMessage, signSealedKey, signHandover } = keys;
  return { signPub, kexPub, signRequest, signMessage, signSealedKey, signHandover, hpkeOpen };
}
