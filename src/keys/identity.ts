/**
 * Identities: the keys of one peer, and their export.
 *
 * @module
 */

import { hkdfSync, randomBytes, sign } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import { natsUserOf, pairOf } from "./nkey.ts";
import { toHex, utf8 } from "./bytes.ts";
import { keyPair } from "./ed25519.ts";
import { demandKind, type SignedKind } from "./forms.ts";
import { type NewSession, sessionBytes } from "./codec/session.ts";
import type { NonceSigner, SessionSigner, Signer } from "./signers.ts";
import {
  bindingOf,
  formatPlain,
  parseIdentity,
  type Secrets,
  SEED_BYTES,
} from "./identity_format.ts";

/**
 * The keys of one peer. The private keys are not in its fields, so they do not get into logs or JSON by
 * mistake.
 *
 * There is one signer for each kind of data. Each throws a `StoreError` with the code `refused` for bytes
 * that do not have the form of its kind, so that data of one kind cannot be signed as another.
 */
export interface Identity extends Signer, NonceSigner, SessionSigner {
  /** Ed25519 public key, hex: identifies the peer. */
  readonly signPub: string;
  /** X25519 public key, hex: room keys are sealed to it. */
  readonly kexPub: string;
  /** The NATS user nkey (`U…`) of the same Ed25519 key. */
  readonly nkey: string;
  /** Signs the signature base of an HTTP request (RFC 9421). */
  signRequest(base: Uint8Array): Uint8Array;
  /** Signs the nonce of a NATS server: 15 to 64 characters of base64url. */
  signNonce(nonce: string): Uint8Array;
  /** Signs a sealed message of a room; used by {@link openRooms}. */
  signMessage(data: Uint8Array): Uint8Array;
  /** Signs a room key that was sealed for a member. */
  signSealedKey(data: Uint8Array): Uint8Array;
  /** Signs that another member owns a room from now on; used by {@link OpenRoom.handOver}. */
  signHandover(data: Uint8Array): Uint8Array;
  /** Signs both public keys, for the card and the file of the identity. */
  signEndpoint(): Uint8Array;
  /**
   * Signs the certificate of a session's key; used by {@link openSession}.
   *
   * @throws {StoreError} `invalid`: a malformed field, or more than one hour
   */
  signSession(session: NewSession): Uint8Array;
  /**
   * Returns the seed of {@link Identity.nkey} (`SU…`), a secret, for programs that accept nothing else.
   * To connect to NATS, use {@link natsAuthenticator}: the `nkeyAuthenticator` of nats.js signs anything
   * that a server sends, even an HTTP request of this identity.
   */
  natsSeed(): Uint8Array;
}

const secrets = new WeakMap<Identity, Secrets>();

/** Creates an identity with random keys. */
export function createIdentity(): Identity {
  return identityOf(randomBytes(SEED_BYTES), randomBytes(SEED_BYTES));
}

/**
 * Creates the identity of a seed. The same seed always gives the same identity.
 *
 * @param seed The 32 bytes of an Ed25519 private key. The X25519 key is derived from it (HKDF-SHA-256)
 * @throws {StoreError} `invalid`: not 32 bytes
 */
export function identityFromSeed(seed: Uint8Array): Identity {
  if (!(seed instanceof Uint8Array) || seed.length !== SEED_BYTES) {
    throw new StoreError("invalid", `seed must be ${SEED_BYTES} bytes`, { field: "seed" });
  }
  const kexSeed = hkdfSync("sha256", seed, new Uint8Array(), "unibus x25519 v1", SEED_BYTES);
  return identityOf(seed, new Uint8Array(kexSeed));
}

/**
 * Returns an identity with its private keys as JSON, for a file that only its owner may read (mode 0600).
 * Use {@link lockIdentity} to encrypt it with a passphrase, {@link writeIdentity} to write the file.
 */
export function exportIdentity(identity: Identity): string {
  return formatPlain(identity, secretsOf(identity));
}

/**
 * Imports an identity that {@link exportIdentity} returned. Use {@link unlockIdentity} for one that may be
 * encrypted with a passphrase.
 *
 * @throws {StoreError} `invalid`: not an exported identity, or its keys do not match; `unsupported`: a
 * newer version, or encrypted with a passphrase
 */
export function importIdentity(text: string): Identity {
  const parsed = parseIdentity(text);
  if (parsed.version !== 1) {
    throw new StoreError("unsupported", "The key file is encrypted with a passphrase", {
      hint: "use unlockIdentity",
    });
  }
  return identityOfSecrets(parsed, parsed.secrets);
}

/** Returns the private keys of an identity, for this package only. */
export function secretsOf(identity: Identity): Readonly<Secrets> {
  const own = secrets.get(identity);
  if (own === undefined) {
    throw new StoreError("invalid", "identity must be created or imported by this package", {
      field: "identity",
    });
  }
  return own;
}

/** Returns the identity of private keys, after comparing the public keys. */
export function identityOfSecrets(
  { signPub, kexPub }: { signPub: string; kexPub: string },
  { signSeed, kexSeed }: Secrets,
): Identity {
  const identity = identityOf(signSeed, kexSeed);
  if (signPub !== identity.signPub || kexPub !== identity.kexPub) {
    throw new StoreError(
      "invalid",
      "The public keys in the key file do not match its private keys",
      { field: "identity" },
    );
  }
  return identity;
}

function identityOf(signSeed: Uint8Array, kexSeed: Uint8Array): Identity {
  const own: Secrets = { signSeed: new Uint8Array(signSeed), kexSeed: new Uint8Array(kexSeed) };
  const { key, publicBytes } = keyPair("ed25519", own.signSeed);
  const keys = {
    signPub: toHex(publicBytes),
    kexPub: toHex(keyPair("x25519", own.kexSeed).publicBytes),
  };
  const signAs = (kind: SignedKind, data: Uint8Array) => {
    demandKind(kind, data);
    return new Uint8Array(sign(null, data, key));
  };
  const identity: Identity = Object.freeze({
    ...keys,
    nkey: natsUserOf(keys.signPub),
    signRequest: (base: Uint8Array) => signAs("request", base),
    signNonce: (nonce: string) => signAs("nonce", utf8(nonce)),
    signMessage: (data: Uint8Array) => signAs("message", data),
    signSealedKey: (data: Uint8Array) => signAs("sealed key", data),
    signHandover: (data: Uint8Array) => signAs("hand-over", data),
    signEndpoint: () => signAs("endpoint", bindingOf(keys)),
    signSession: (session: NewSession) => signAs("session", sessionBytes(keys.signPub, session)),
    natsSeed: () => utf8(pairOf("user", own.signSeed).seed),
  });
  secrets.set(identity, own);
  return identity;
}
