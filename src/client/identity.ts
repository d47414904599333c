/**
 * Identities: the keys of one peer, and the form in which they are kept.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { StoreError } from "../errors.ts";
import { fromBase64url, toBase64url } from "../sealing/bytes.ts";
import { pairOf } from "../nats/nkey.ts";
import type { Signer } from "../signature/sign.ts";
import * as check from "../validate.ts";
import { formatPlain, parseIdentity } from "./identity_format.ts";

/** The keys of one peer. Its secrets are in none of its fields, so in no log and no JSON by mistake. */
export interface Identity extends Signer {
  /** Ed25519 public key, hex: who it is. */
  readonly signPub: string;
  /** X25519 public key, hex: room keys are sealed to it. */
  readonly kexPub: string;
  /** Signs bytes with Ed25519. */
  sign(data: Uint8Array): Uint8Array;
  /** The secret that only this peer and the owner of `kexPub` can compute (X25519). */
  agree(kexPub: string): Uint8Array;
  /**
   * The seed of the NATS user nkey (`SU…`), which is the same Ed25519 key: what nats.js takes in
   * `nkeyAuthenticator(identity.natsSeed())`. A secret.
   */
  natsSeed(): Uint8Array;
}

/** Private keys. */
export interface Secrets {
  signSeed: Uint8Array;
  kexSeed: Uint8Array;
}

const secrets = new WeakMap<Identity, Secrets>();

// The fixed DER in front of a private key (RFC 8410).
const PKCS8 = {
  ed25519: Buffer.from("302e020100300506032b657004220420", "hex"),
  x25519: Buffer.from("302e020100300506032b656e04220420", "hex"),
};
const X25519_SPKI = Buffer.from("302a300506032b656e032100", "hex");
const SEED_BYTES = 32;

/** Makes an identity of fresh random keys. */
export function createIdentity(): Identity {
  return identityOf(randomBytes(SEED_BYTES), randomBytes(SEED_BYTES));
}

/**
 * Makes the identity of a seed: always the same one.
 *
 * @param seed The 32 bytes of an Ed25519 private key. The X25519 key is derived from it (HKDF-SHA-256)
 */
export function identityFromSeed(seed: Uint8Array): Identity {
  if (!(seed instanceof Uint8Array) || seed.length !== SEED_BYTES) {
    throw new StoreError("invalid", `seed must be ${SEED_BYTES} bytes`, { field: "seed" });
  }
  const kexSeed = hkdfSync("sha256", seed, new Uint8Array(), "unibus x25519 v1", SEED_BYTES);
  return identityOf(seed, new Uint8Array(kexSeed));
}

/**
 * Writes an identity with its private keys, as JSON for a file that only its owner may read (mode
 * 0600). `lockIdentity` writes it under a passphrase, `writeIdentity` the file.
 */
export function exportIdentity(identity: Identity): string {
  const own = secretsOf(identity);
  const { signPub, kexPub } = identity;
  return formatPlain({
    signPub,
    kexPub,
    signSeed: toBase64url(own.signSeed),
    kexSeed: toBase64url(own.kexSeed),
  });
}

/**
 * Reads what {@link exportIdentity} wrote; `unlockIdentity` reads what is under a passphrase too.
 *
 * @throws {StoreError} `invalid` when it is not that, or its keys do not belong together; `unsupported`
 * when it has a newer version, or is under a passphrase
 */
export function importIdentity(text: string): Identity {
  const it = parseIdentity(text);
  if (it.version !== 1) {
    throw new StoreError(
      "unsupported",
      "The identity has version 2, under a passphrase: unlockIdentity reads it",
    );
  }
  return identityOfSecrets(it, {
    signSeed: fromBase64url(it.signSeed, SEED_BYTES)!,
    kexSeed: fromBase64url(it.kexSeed, SEED_BYTES)!,
  });
}

/** The private keys of an identity, for this package only. */
export function secretsOf(identity: Identity): Readonly<Secrets> {
  const own = secrets.get(identity);
  if (own === undefined) {
    throw new StoreError("invalid", "identity must be one made by this module", {
      field: "identity",
    });
  }
  return own;
}

/** The identity of private keys that must be those of the public ones. */
export function identityOfSecrets(
  { signPub, kexPub }: { signPub: string; kexPub: string },
  { signSeed, kexSeed }: Secrets,
): Identity {
  const identity = identityOf(signSeed, kexSeed);
  if (signPub !== identity.signPub || kexPub !== identity.kexPub) {
    throw new StoreError(
      "invalid",
      "The public keys of the identity are not those of its private keys",
      { field: "identity" },
    );
  }
  return identity;
}

function identityOf(signSeed: Uint8Array, kexSeed: Uint8Array): Identity {
  const own: Secrets = { signSeed: new Uint8Array(signSeed), kexSeed: new Uint8Array(kexSeed) };
  const signKey = privateKey(PKCS8.ed25519, own.signSeed);
  const kexKey = privateKey(PKCS8.x25519, own.kexSeed);
  const identity: Identity = Object.freeze({
    signPub: publicHex(signKey),
    kexPub: publicHex(kexKey),
    sign: (data: Uint8Array) => new Uint8Array(sign(null, data, signKey)),
    agree: (kexPub: string) => {
      const key = Buffer.from(check.kexPub("kexPub", kexPub), "hex");
      const publicKey = createPublicKey({
        key: Buffer.concat([X25519_SPKI, key]),
        format: "der",
        type: "spki",
      });
      return new Uint8Array(diffieHellman({ privateKey: kexKey, publicKey }));
    },
    natsSeed: () => new TextEncoder().encode(pairOf("user", own.signSeed).seed),
  });
  secrets.set(identity, own);
  return identity;
}

function privateKey(prefix: Uint8Array, seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([prefix, seed]), format: "der", type: "pkcs8" });
}

function publicHex(key: KeyObject): string {
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
}
