/**
 * Key pairs of nkeys.
 *
 * @module
 */

import { randomBytes, sign } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import { utf8 } from "./bytes.ts";
import { decode, encode, encodePublic, type NkeyKind, PREFIX } from "./codec/nkey.ts";
import { keyPair } from "./ed25519.ts";
import { demandKind, type SignedKind } from "./forms.ts";

export { decodePublic, encodePublic, natsUserOf, type NkeyKind, signPubOf } from "./codec/nkey.ts";

/**
 * A key pair. Its seed is a secret. Each signer throws a `StoreError` with the code `refused` for data
 * that does not have the form of its kind.
 */
export interface NkeyPair {
  /** Its kind. */
  readonly kind: NkeyKind;
  /** The public key as text, such as `U…`. */
  readonly publicKey: string;
  /** The seed as text, such as `SU…`. A secret. */
  readonly seed: string;
  /** Signs the nonce of a NATS server: 15 to 64 characters of base64url. */
  signNonce(nonce: string): Uint8Array;
  /** Signs the header and claims of a JSON web token: the text before its last dot. */
  signToken(text: string): Uint8Array;
  /** Signs a head of the history. */
  signHistoryHead(text: string): Uint8Array;
}

const KINDS = Object.keys(PREFIX) as NkeyKind[];
const SEED = 18 << 3;
const KEY_BYTES = 32;

/** The key pair of a 32-byte secret. */
export function pairOf(kind: NkeyKind, secret: Uint8Array): NkeyPair {
  const { key, publicBytes } = keyPair("ed25519", secret);
  const prefix = PREFIX[kind];
  // Two prefixes in two bytes, shifted so that each is encoded as one letter.
  const seed = encode([SEED | prefix >> 5, (prefix & 31) << 3], secret);
  const signAs = (as: SignedKind, text: string) => {
    const data = utf8(text);
    demandKind(as, data);
    return new Uint8Array(sign(null, data, key));
  };
  const pair = {
    kind,
    publicKey: encodePublic(kind, publicBytes),
    signNonce: (nonce: string) => signAs("nonce", nonce),
    signToken: (text: string) => signAs("token", text),
    signHistoryHead: (text: string) => signAs("history head", text),
  };
  // Not enumerable, so that it does not get into logs or JSON by mistake.
  Object.defineProperty(pair, "seed", { value: seed });
  return Object.freeze(pair as typeof pair & { seed: string });
}

/** Creates a random key pair. */
export function createNkey(kind: NkeyKind): NkeyPair {
  return pairOf(kind, randomBytes(KEY_BYTES));
}

/**
 * Returns the key pair of a seed (`SU…`, `SA…`, `SN…`).
 *
 * @throws {StoreError} `invalid`: not a seed; the message does not contain it
 */
export function nkeyFromSeed(seed: string, field = "seed"): NkeyPair {
  const body = decode(seed, 2 + KEY_BYTES);
  if (body !== null && (body[0]! & 0xf8) === SEED && (body[1]! & 7) === 0) {
    const prefix = (body[0]! & 7) << 5 | body[1]! >> 3;
    const kind = KINDS.find((it) => PREFIX[it] === prefix);
    if (kind !== undefined) return pairOf(kind, body.subarray(2));
  }
  throw new StoreError("invalid", `${field} is not the seed of an nkey`, { field });
}
