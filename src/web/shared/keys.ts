/// <reference lib="dom" />
/**
 * Key pairs by Web Crypto. A private key is either a secret of 32 bytes, on its way into a file, or a
 * `CryptoKey` whose bytes not even this page can read.
 *
 * @module
 */

import { fromBase64url, toHex } from "../../keys/bytes.ts";
import { bindingOf } from "../../keys/identity_format.ts";
import { type NewSession, sessionBytes } from "../../keys/codec/session.ts";
import { demandKind, type SignedKind } from "../../keys/forms.ts";
import type { Secrets } from "../../keys/identity_format.ts";
import type { Signer } from "../../signature/sign.ts";

/** The keys of one peer, of which only the public ones can be read. */
export interface Keys extends Signer {
  /** Ed25519 public key, hex: who it is. */
  readonly signPub: string;
  /** X25519 public key, hex: room keys are sealed to it. */
  readonly kexPub: string;
  /** The private Ed25519 key, not extractable. */
  readonly signKey: CryptoKey;
  /** The private X25519 key, not extractable. */
  readonly kexKey: CryptoKey;
  /** Signs the signature base of a request. */
  signRequest(base: Uint8Array): Promise<Uint8Array>;
  /** Signs a sealed message of a room. */
  signMessage(data: Uint8Array): Promise<Uint8Array>;
  /** Signs a room key that was sealed for a member. */
  signSealedKey(data: Uint8Array): Promise<Uint8Array>;
  /** Signs that another member owns a room from now on. */
  signHandover(data: Uint8Array): Promise<Uint8Array>;
  /** Signs that `kexPub` belongs to `signPub`, for a card and a file. */
  signEndpoint(): Promise<Uint8Array>;
  /** Signs the certificate of a session's key, for one server and at most one hour. */
  signSession(session: NewSession): Promise<Uint8Array>;
}

/** The keys without what signs with them, as a browser can keep them. */
export type StoredKeys = Pick<Keys, "signPub" | "kexPub" | "signKey" | "kexKey">;

// The fixed DER in front of a private key (RFC 8410).
const PKCS8 = {
  Ed25519: [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20],
  X25519: [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20],
} as const;
const USES = { Ed25519: ["sign"], X25519: ["deriveBits"] } as const;
type Curve = keyof typeof PKCS8;

/** Why keys cannot be made here. */
export type Lack = "insecure" | "old";

/** What this browser lacks to make keys, or null: it can. */
export async function lackOf(): Promise<Lack | null> {
  // Browsers hide Web Crypto from pages that came over plain HTTP, but from this machine.
  if (!globalThis.isSecureContext) return "insecure";
  try {
    await Promise.all([
      crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]),
      crypto.subtle.generateKey("X25519", false, ["deriveBits"]),
    ]);
    return null;
  } catch {
    return "old";
  }
}

/** Makes the secrets of a new peer. */
export async function createSecrets(): Promise<Secrets> {
  const [sign, kex] = await Promise.all([
    crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]),
    crypto.subtle.generateKey("X25519", true, ["deriveBits"]),
  ]) as [CryptoKeyPair, CryptoKeyPair];
  return { signSeed: await seedOf(sign.privateKey), kexSeed: await seedOf(kex.privateKey) };
}

/** The keys of secrets. The bytes are not needed any more then: {@link forget} them. */
export async function keysOf({ signSeed, kexSeed }: Secrets): Promise<Keys> {
  const [signPub, kexPub, signKey, kexKey] = await Promise.all([
    publicOf("Ed25519", signSeed),
    publicOf("X25519", kexSeed),
    privateKey("Ed25519", signSeed, false),
    privateKey("X25519", kexSeed, false),
  ]);
  return keysFrom({ signPub, kexPub, signKey, kexKey });
}

/** Keys of what was kept. */
export function keysFrom(
  { signPub, kexPub, signKey, kexKey }: StoredKeys,
): Keys {
  const signAs = async (kind: SignedKind, data: Uint8Array) => {
    demandKind(kind, data);
    return new Uint8Array(
      await crypto.subtle.sign("Ed25519", signKey, data as Uint8Array<ArrayBuffer>),
    );
  };
  return {
    signPub,
    kexPub,
    signKey,
    kexKey,
    signRequest: (base) => signAs("request", base),
    signMessage: (data) => signAs("message", data),
    signSealedKey: (data) => signAs("sealed key", data),
    signHandover: (data) => signAs("hand-over", data),
    signEndpoint: () => signAs("endpoint", bindingOf({ signPub, kexPub })),
    signSession: async (session) => await signAs("session", sessionBytes(signPub, session)),
  };
}

/** Overwrites secrets. Copies that the browser itself made are out of our reach. */
export function forget(secrets: Secrets): void {
  secrets.signSeed.fill(0);
  secrets.kexSeed.fill(0);
}

async function seedOf(key: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", key));
  const seed = der.slice(-32);
  der.fill(0);
  return seed;
}

/** The key that holds a secret. */
function privateKey(curve: Curve, seed: Uint8Array, extractable: boolean): Promise<CryptoKey> {
  const der = Uint8Array.from([...PKCS8[curve], ...seed]);
  const key = crypto.subtle.importKey("pkcs8", der, curve, extractable, USES[curve]);
  return key.finally(() => der.fill(0));
}

/** The public key of a secret; Web Crypto tells it only in the JWK of the private one. */
async function publicOf(curve: Curve, seed: Uint8Array): Promise<string> {
  const { x } = await crypto.subtle.exportKey("jwk", await privateKey(curve, seed, true));
  return toHex(fromBase64url(x, 32)!);
}

/**
 * Public keys as people compare them: the first 16 digits of each, in groups. Both, because a server that
 * names another X25519 key beside the right signing key could read what is sealed to it.
 */
export function fingerprint({ signPub, kexPub }: Pick<Keys, "signPub" | "kexPub">): string {
  return (signPub.slice(0, 16) + kexPub.slice(0, 16)).replace(/(.{4})(?=.)/g, "$1 ");
}
