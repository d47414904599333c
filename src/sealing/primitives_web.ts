/**
 * The primitives of browsers, by Web Crypto, with private keys that cannot be exported; HPKE is that of the
 * library. Has no `node:` imports.
 *
 * @module
 */

import {
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_DHKEM_X25519_HKDF_SHA256,
  type Key,
} from "hpke";
import * as check from "../core/validate.ts";
import { fromHex } from "../keys/bytes.ts";
import { type Primitives, type RoomKeys, roomKeysWith } from "./primitives.ts";

/** The keys of one peer, whose X25519 key Web Crypto holds. */
export interface WebKeys extends Omit<RoomKeys, "hpkeOpen"> {
  /** The private X25519 key, for `deriveBits`. */
  readonly kexKey: CryptoKey;
}

type Bytes = Uint8Array<ArrayBuffer>;

const suite: CipherSuite = new CipherSuite(
  KEM_DHKEM_X25519_HKDF_SHA256,
  KDF_HKDF_SHA256,
  AEAD_AES_256_GCM,
);

/** Number of public keys that stay imported. */
const MOST_KEYS = 2048;
const imported = new Map<string, Promise<CryptoKey>>();

/** The primitives by Web Crypto. */
export const webPrimitives: Primitives = {
  async hkdf(key, salt, info, length) {
    const from = await crypto.subtle.importKey("raw", key as Bytes, "HKDF", false, ["deriveBits"]);
    const how = { name: "HKDF", hash: "SHA-256", salt: salt as Bytes, info: info as Bytes };
    return new Uint8Array(await crypto.subtle.deriveBits(how, from, 8 * length));
  },
  async aesGcm(key) {
    const uses: KeyUsage[] = ["encrypt", "decrypt"];
    const from = await crypto.subtle.importKey("raw", key as Bytes, "AES-GCM", false, uses);
    const how = (nonce: Uint8Array, aad: Uint8Array) => ({
      name: "AES-GCM",
      iv: nonce as Bytes,
      additionalData: aad as Bytes,
    });
    return {
      seal: async (nonce, aad, plaintext) =>
        new Uint8Array(await crypto.subtle.encrypt(how(nonce, aad), from, plaintext as Bytes)),
      open: async (nonce, aad, sealed) =>
        new Uint8Array(await crypto.subtle.decrypt(how(nonce, aad), from, sealed as Bytes)),
    };
  },
  async verifies(signPub, data, signature) {
    try {
      const key = await publicKey(check.signPub("signPub", signPub));
      return await crypto.subtle.verify("Ed25519", key, signature as Bytes, data as Bytes);
    } catch {
      return false;
    }
  },
  async hpkeSeal(kexPub, info, plaintext) {
    const key = await suite.DeserializePublicKey(kexPub);
    const { encapsulatedSecret: enc, ciphertext } = await suite.Seal(key, plaintext, { info });
    return { enc, ciphertext };
  },
};

function publicKey(signPub: string): Promise<CryptoKey> {
  let key = imported.get(signPub);
  if (key === undefined) {
    if (imported.size >= MOST_KEYS) imported.clear();
    key = crypto.subtle.importKey("raw", fromHex(signPub), "Ed25519", false, ["verify"]);
    imported.set(signPub, key);
  }
  return key;
}

/** Returns the keys of a peer as rooms use them. */
export function webRoomKeys(keys: WebKeys): RoomKeys {
  let publicKey: Promise<Key> | undefined;
  return roomKeysWith(keys, async (info, { enc, ciphertext }) => {
    publicKey ??= suite.DeserializePublicKey(fromHex(keys.kexPub));
    const pair = { privateKey: keys.kexKey, publicKey: await publicKey };
    return await suite.Open(pair, enc, ciphertext, { info });
  });
}
