/**
 * The formats of identities and cards, without cryptography and without `node:` imports, because the
 * browser's pages use them too. `docs/sealing.md` describes them.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { NEWER } from "../core/hints.ts";
import type { NewMember, PublicKeys } from "../core/model.ts";
import { concat, fromBase64url, fromHex, toBase64url, toHex, utf8 } from "./bytes.ts";
import { FIRST_BYTES } from "./forms.ts";
import * as check from "../core/validate.ts";

/** Size of each private key in bytes. */
export const SEED_BYTES = 32;
const FORMAT = "unibus-identity";
const CARD = "unibus1.";
const BINDING_BYTES = 64;
const CARD_BYTES = 2 * SEED_BYTES + BINDING_BYTES;
/** More than any identity has. */
const MOST_CHARACTERS = 8192;

/** The private keys of one peer. */
export interface Secrets {
  /** 32 bytes, Ed25519. */
  signSeed: Uint8Array<ArrayBuffer>;
  /** 32 bytes, X25519. */
  kexSeed: Uint8Array<ArrayBuffer>;
}

/** Parameters of the key derivation from a passphrase: scrypt (RFC 7914). */
export interface Kdf {
  /** The algorithm. */
  name: "scrypt";
  /** Cost, a power of two. */
  n: number;
  /** Block size. */
  r: number;
  /** Parallelism. */
  p: number;
  /** 16 random bytes, base64url. */
  salt: string;
}

/** An identity encrypted with a passphrase. */
export interface LockedIdentity extends PublicKeys {
  /** The signature of both public keys by the signing key, base64url; see {@link bindingOf}. */
  binding: string;
  /** How the key is derived from the passphrase. */
  kdf: Kdf;
  /** The cipher of the private keys, and its nonce of 12 bytes, base64url. */
  cipher: { name: "AES-256-GCM"; nonce: string };
  /** Both private keys, the signing key first, encrypted, with the tag: 80 bytes, base64url. */
  sealed: string;
}

/** The result of {@link parseIdentity}. */
export type ParsedIdentity =
  | ({ version: 1; secrets: Secrets } & PublicKeys)
  | ({ version: 2 } & LockedIdentity);

/**
 * The cost for new files, as OWASP recommends for scrypt: 128 MiB of memory for a fraction of a second.
 */
export const KDF_COST = { n: 2 ** 17, r: 8, p: 1 } as const;
/** A file with a lower cost is too weak; one with a higher cost could exhaust the reader's memory. */
const KDF_BOUNDS = { least: 2 ** 14, most: 2 ** 18, mostP: 4 } as const;

function invalid(message: string, field = "identity"): StoreError {
  return new StoreError("invalid", message, { field });
}

/** Returns the text of an unencrypted identity. */
export function formatPlain({ signPub, kexPub }: PublicKeys, secrets: Secrets): string {
  const signSeed = toBase64url(secrets.signSeed);
  const kexSeed = toBase64url(secrets.kexSeed);
  return write({ format: FORMAT, version: 1, signPub, kexPub, signSeed, kexSeed });
}

/** Returns the text of an encrypted identity. */
export function formatLocked(identity: LockedIdentity): string {
  const { signPub, kexPub, binding, kdf, cipher, sealed } = identity;
  return write({ format: FORMAT, version: 2, signPub, kexPub, binding, kdf, cipher, sealed });
}

function write(value: object): string {
  return JSON.stringify(value, null, 2) + "\n";
}

/**
 * Parses an identity, encrypted or not. Does not verify that its keys match.
 *
 * @throws {StoreError} `invalid`: not an identity; `unsupported`: a newer version
 */
export function parseIdentity(text: string): ParsedIdentity {
  let json: Record<string, unknown> = {};
  try {
    if (text.length <= MOST_CHARACTERS) json = check.object("identity", JSON.parse(text));
  } catch {
    // Without the cause, because a parser's message may quote the text.
  }
  if (json.format !== FORMAT) throw invalid("The text is not a key file");
  if (json.version !== 1 && json.version !== 2) {
    throw new StoreError(
      "unsupported",
      `The key file has version ${check.show(json.version)}, this program supports 1 and 2`,
      { hint: NEWER },
    );
  }
  if (json.version === 1) {
    return {
      version: 1,
      secrets: {
        signSeed: seed("signSeed", json.signSeed),
        kexSeed: seed("kexSeed", json.kexSeed),
      },
      ...publicKeys(json),
    };
  }
  const cipher = check.object("cipher", json.cipher);
  return {
    version: 2,
    ...publicKeys(json),
    binding: base64url("binding", json.binding, BINDING_BYTES),
    kdf: kdfOf(check.object("kdf", json.kdf)),
    cipher: {
      name: check.oneOf("cipher.name", cipher.name, ["AES-256-GCM"]),
      nonce: base64url("cipher.nonce", cipher.nonce, 12),
    },
    sealed: base64url("sealed", json.sealed, 2 * SEED_BYTES + 16),
  };
}

function publicKeys({ signPub, kexPub }: Record<string, unknown>): PublicKeys {
  const keys = {
    signPub: check.signPub("signPub", signPub),
    kexPub: check.kexPub("kexPub", kexPub),
  };
  // Upper case would be a second text for the same key.
  if (keys.signPub === signPub && keys.kexPub === kexPub) return keys;
  throw invalid("The public keys in the key file must be in lower case");
}

/**
 * Parses the parameters of the key derivation.
 *
 * @throws {StoreError} `invalid`
 */
export function kdfOf({ name, n, r, p, salt }: Record<string, unknown>): Kdf {
  const { least, most, mostP } = KDF_BOUNDS;
  const cost = check.integer("kdf.n", n, least, most);
  if ((cost & cost - 1) !== 0) throw invalid("kdf.n must be a power of two", "kdf.n");
  return {
    name: check.oneOf("kdf.name", name, ["scrypt"]),
    n: cost,
    r: check.integer("kdf.r", r, KDF_COST.r, KDF_COST.r),
    p: check.integer("kdf.p", p, 1, mostP),
    salt: base64url("kdf.salt", salt, 16),
  };
}

function seed(field: string, value: unknown): Uint8Array<ArrayBuffer> {
  return fromBase64url(base64url(field, value, SEED_BYTES), SEED_BYTES)!;
}

function base64url(field: string, value: unknown, length: number): string {
  if (fromBase64url(value, length) === null) {
    throw invalid(`${field} must be ${length} bytes, base64url`, field);
  }
  return value as string;
}

/** Returns the additional data that the cipher authenticates: all other fields of the file. */
export function lockedAad(identity: Omit<LockedIdentity, "sealed">): Uint8Array<ArrayBuffer> {
  const { signPub, kexPub, binding, kdf, cipher } = identity;
  return utf8(
    [
      FORMAT,
      2,
      signPub,
      kexPub,
      binding,
      kdf.name,
      kdf.n,
      kdf.r,
      kdf.p,
      kdf.salt,
      cipher.name,
      cipher.nonce,
    ].join("\n"),
  );
}

/** Returns the bytes of a passphrase for the KDF, in Unicode NFC, as keyboards compose letters differently. */
export function passphraseBytes(passphrase: string): Uint8Array<ArrayBuffer> {
  if (typeof passphrase !== "string" || passphrase === "") {
    throw invalid("The passphrase must not be empty", "passphrase");
  }
  return utf8(passphrase.normalize("NFC"));
}

/** Returns the bytes that the signing key signs to bind the X25519 key to itself. */
export function bindingOf({ signPub, kexPub }: PublicKeys): Uint8Array<ArrayBuffer> {
  return concat(utf8(FIRST_BYTES.endpoint), fromHex(signPub), fromHex(kexPub));
}

/** Returns the text of a card. */
export function formatCard({ signPub, kexPub }: PublicKeys, binding: Uint8Array): string {
  return CARD + toBase64url(concat(fromHex(signPub), fromHex(kexPub), binding));
}

/**
 * Parses a card. Does not verify its signature.
 *
 * @throws {StoreError} `invalid`
 */
export function parseCard(text: string): PublicKeys & { binding: Uint8Array } {
  const card = typeof text === "string" ? text.trim() : "";
  const bytes = card.startsWith(CARD) ? fromBase64url(card.slice(CARD.length), CARD_BYTES) : null;
  if (bytes === null) throw invalid(`A card begins with ${CARD} and has 179 characters`, "card");
  return {
    signPub: check.signPub("card", toHex(bytes.subarray(0, SEED_BYTES))),
    kexPub: check.kexPub("card", toHex(bytes.subarray(SEED_BYTES, 2 * SEED_BYTES))),
    binding: bytes.subarray(2 * SEED_BYTES),
  };
}

/** Verifies Ed25519 signatures. */
export type Verifies = (
  signPub: string,
  data: Uint8Array,
  signature: Uint8Array,
) => boolean | Promise<boolean>;

/**
 * Reads and verifies a card.
 *
 * @throws {StoreError} `invalid`: not a card, or its signature is not by its signing key
 */
export async function openCard(card: string, verifies: Verifies): Promise<NewMember> {
  const { binding, ...keys } = parseCard(card);
  if (!await verifies(keys.signPub, bindingOf(keys), binding)) throw notBound("The card");
  return { endpoint: keys.signPub, kexPub: keys.kexPub };
}

/** Returns the error of public keys that their signing key did not sign. */
export function notBound(what: string): StoreError {
  return new StoreError("invalid", `${what} is not signed by its own signing key`);
}
