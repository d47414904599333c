/**
 * The primitives of Deno and Node, by `node:crypto`: synchronous, and the fastest there.
 *
 * @module
 */

import { hkdfSync } from "node:crypto";
import { CipherSuite, type KeyPair } from "hpke";
import { fromHex } from "../keys/bytes.ts";
import { verifies } from "../keys/ed25519.ts";
import { type Identity, secretsOf } from "../keys/identity.ts";
import { hpkeOpen, hpkeSeal } from "./hpke.ts";
import { AEAD, gcmOpen, gcmSeal, KDF, KEM, type NodeKey } from "./hpke_node.ts";
import type { Primitives, RoomKeys } from "./primitives.ts";

const suite = new CipherSuite(KEM, KDF, AEAD);

/** The primitives by `node:crypto`. */
export const nodePrimitives: Primitives = {
  hkdf: (key, salt, info, length) => new Uint8Array(hkdfSync("sha256", key, salt, info, length)),
  aesGcm: (key) => ({
    seal: (nonce, aad, plaintext) => gcmSeal(key, nonce, aad, plaintext),
    open: (nonce, aad, sealed) => gcmOpen(key, nonce, aad, sealed),
  }),
  verifies,
  hpkeSeal: (kexPub, info, plaintext) => hpkeSeal(suite, kexPub, info, plaintext),
};

/** Returns the keys of an identity as rooms use them. */
export function roomKeysOf(identity: Identity): RoomKeys {
  const { signPub, kexPub, signRequest, signMessage, signSealedKey, signHandover } = identity;
  let pair: Promise<KeyPair<NodeKey>> | undefined;
  return {
    signPub,
    kexPub,
    signRequest,
    signMessage,
    signSealedKey,
    signHandover,
    async hpkeOpen(info, sealed) {
      return await hpkeOpen(suite, await (pair ??= pairOf(identity)), info, sealed);
    },
  };
}

async function pairOf(identity: Identity): Promise<KeyPair<NodeKey>> {
  return {
    privateKey: await suite.DeserializePrivateKey(secretsOf(identity).kexSeed, false),
    publicKey: await suite.DeserializePublicKey(fromHex(identity.kexPub)),
  };
}
