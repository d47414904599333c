/**
 * The primitives of Deno and Node, by `node:crypto`: synchronous, and the fastest there.
 *
 * @module
 */

import { hkdfSync } from "node:crypto";
import { verifies } from "../keys/ed25519.ts";
import { type Identity, secretsOf } from "../keys/identity.ts";
import { gcmOpen, gcmSeal, hpkeOpen, hpkeSeal, kexPairOf } from "./hpke_node.ts";
import { withThreads } from "./hpke_threads.ts";
import { type Primitives, type RoomKeys, roomKeysWith } from "./primitives.ts";

/** The primitives by `node:crypto`. */
export const nodePrimitives: Primitives = {
  hkdf: (key, salt, info, length) => new Uint8Array(hkdfSync("sha256", key, salt, info, length)),
  aesGcm: (key) => ({
    seal: (nonce, aad, plaintext) => gcmSeal(key, nonce, aad, plaintext),
    open: (nonce, aad, sealed) => gcmOpen(key, nonce, aad, sealed),
  }),
  verifies,
  hpkeSeal: (kexPub, info, plaintext) => hpkeSeal(kexPub, info, plaintext),
  inThreads: withThreads,
};

/** Returns the keys of an identity as rooms use them. */
export function roomKeysOf(identity: Identity): RoomKeys {
  const pair = kexPairOf(secretsOf(identity).kexSeed);
  return roomKeysWith(identity, (info, sealed) => hpkeOpen(pair, info, sealed));
}
