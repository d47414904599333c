/**
 * The form in which identities are kept and shown, without the cryptography, and without `node:`
 * modules: the browser's pages write it too. `docs/sealing.md` describes it.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { NEWER } from "../core/hints.ts";
import { concat, fromBase64url, fromHex, toBase64url, toHex, utf8 } from "./bytes.ts";
import { FIRST_BYTES } from "./forms.ts";
import * as check from "../core/validate.ts";

const FORMAT = "unibus-identity";
const CARD = "unibus1.";
const KEY_BYTES = 32;
const BINDING_BYTES = 64;
const CARD_BYTES = 2 * KEY_BYTES + BINDING_BYTES;
/** More than any identity has. */
const MOST_CHARACTERS = 8192;

/** The public keys of an identity. */
export interface PublicKeys {
  /** Ed25519, hex. */
  signPub: string;
  /** X25519, hex. */
  kexPub: string;
}

/** An identity as it is written. */
export interface PlainIdentity extends PublicKeys {
  /** Ed25519 private key, base64url. */
  signSeed: string;
  /** X25519 private key, base64url. */
  kexSeed: string;
}

/** How a key is made of a passphrase: scrypt (RFC 7914). */
export interface Kdf {
  /** The algorithm. */
  name: "scrypt";
  /** Its cost, a power of two. */
  n: number;
  /** Its block size. */
  r: number;
  /** Its parallelism. */
  p: number;
  /** 16 random bytes, base64url. */
  salt: string;
}

/** An identity under a passphrase. */
export interface LockedIdentity extends PublicKeys {
  /** The signature of both public keys by the signing key, base64url; see {@link bindingOf}. */
  binding: string;
  /** How the key is made of the passphrase. */
  kdf: Kdf;
  /** What the private keys are sealed with, and its nonce of 12 bytes, base64url. */
  cipher: { name: "AES-256-GCM"; nonce: string };
  /** Both private keys, the signing one first, and the tag, sealed: 80 bytes, base64url. */
  sealed: string;
}

/** What {@link parseIdentity} reads. */
export type ParsedIdentity =
  | ({ version: 1 } & PlainIdentity)
  | ({ version: 2 } & LockedIdentity);

/**
 * The cost for new files: what OWASP advises for scrypt, 128 MiB of memory for part of a second.
 */
export const KDF_COST = { n: 2 ** 17, r: 8, p: 1 } as const;
/** A file that asks for less is too weak, for more an attack on the reader's memory. */
const KDF_BOUNDS = { least: 2 ** 14, most: 2 ** 18, mostP: 4 } as const;

function invalid(message: string, field = "identity"): StoreError {
  return new StoreError("invalid", message, { field });
}

/** Writes an identity as it is. */
export function formatPlain({ signPub, kexPub, signSeed, kexSeed }: PlainIdentity): string {
  return write({ format: FORMAT, version: 1, signPub, kexPub, signSeed, kexSeed });
}

/** Writes an identity under a passphrase. */
export function formatLocked(it: LockedIdentity): string {
  const { signPub, kexPub, binding, kdf, cipher, sealed } = it;
  return write({ format: FORMAT, version: 2, signPub, kexPub, binding, kdf, cipher, sealed });
}

function write(value: object): string {
  return JSON.stringify(value, null, 2) + "\n";
}

/**
 * Reads an identity, in either form. Whether the keys fit together is not looked at.
 *
 * @throws {StoreError} `invalid` when it is none, `unsupported` when it has a newer version
 */
export function parseIdentity(text: string): ParsedIdentity {
  let it: Record<string, unknown> = {};
  try {
    if (text.length <= MOST_CHARACTERS) it = check.object("identity", JSON.parse(text));
  } catch {
    // Without the cause: a parser's message may show a part of the text.
  }
  if (it.format !== FORMAT) throw invalid("The text is not an exported identity");
  if (it.version !== 1 && it.version !== 2) {
    throw new StoreError(
      "unsupported",
      `The identity has version ${check.show(it.version)}, this program reads 1 and 2`,
      { hint: NEWER },
    );
  }
  if (it.version === 1) {
    return {
      version: 1,
      signSeed: base64url("signSeed", it.signSeed, KEY_BYTES),
      kexSeed: base64url("kexSeed", it.kexSeed, KEY_BYTES),
      ...publicKeys(it),
    };
  }
  const cipher = check.object("cipher", it.cipher);
  return {
    version: 2,
    ...publicKeys(it),
    binding: base64url("binding", it.binding, BINDING_BYTES),
    kdf: kdfOf(check.object("kdf", it.kdf)),
    cipher: {
      name: check.oneOf("cipher.name", cipher.name, ["AES-256-GCM"]),
      nonce: base64url("cipher.nonce", cipher.nonce, 12),
    },
    sealed: base64url("sealed", it.sealed, 2 * KEY_BYTES + 16),
  };
}

function publicKeys({ signPub, kexPub }: Record<string, unknown>): PublicKeys {
  const keys = {
    signPub: check.signPub("signPub", signPub),
    kexPub: check.kexPub("kexPub", kexPub),
  };
  // In another case it would be another text for the same key.
  if (keys.signPub === signPub && keys.kexPub === kexPub) return keys;
  throw invalid("The public keys of the identity must be in lower case");
}

function kdfOf({ name, n, r, p, salt }: Record<string, unknown>): Kdf {
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

function base64url(field: string, value: unknown, length: number): string {
  if (fromBase64url(value, length) === null) {
    throw invalid(`${field} must be ${length} bytes, base64url`, field);
  }
  return value as string;
}

/** What the cipher authenticates besides the private keys: everything else of the file. */
export function lockedAad(it: Omit<LockedIdentity, "sealed">): Uint8Array<ArrayBuffer> {
  const { signPub, kexPub, binding, kdf, cipher } = it;
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

/** A passphrase as what the KDF takes: the same whichever way a keyboard composes its letters. */
export function passphraseBytes(passphrase: string): Uint8Array<ArrayBuffer> {
  if (typeof passphrase !== "string" || passphrase === "") {
    throw invalid("The passphrase must not be empty", "passphrase");
  }
  return utf8(passphrase.normalize("NFC"));
}

/** What the signing key signs to say that the X25519 key is its own. */
export function bindingOf({ signPub, kexPub }: PublicKeys): Uint8Array<ArrayBuffer> {
  return concat(utf8(FIRST_BYTES.endpoint), fromHex(signPub), fromHex(kexPub));
}

/** Writes a card. */
export function formatCard({ signPub, kexPub }: PublicKeys, binding: Uint8Array): string {
  return CARD + toBase64url(concat(fromHex(signPub), fromHex(kexPub), binding));
}

/**
 * Reads a card; whether its signature fits is not looked at.
 *
 * @throws {StoreError} `invalid`
 */
export function parseCard(text: string): PublicKeys & { binding: Uint8Array } {
  const it = typeof text === "string" ? text.trim() : "";
  const bytes = it.startsWith(CARD) ? fromBase64url(it.slice(CARD.length), CARD_BYTES) : null;
  if (bytes === null) throw invalid(`A card begins with ${CARD} and has 179 characters`, "card");
  return {
    signPub: check.signPub("card", toHex(bytes.subarray(0, KEY_BYTES))),
    kexPub: check.kexPub("card", toHex(bytes.subarray(KEY_BYTES, 2 * KEY_BYTES))),
    binding: bytes.subarray(2 * KEY_BYTES),
  };
}
