/**
 * The client of a control plane: {@link createIdentity} makes the keys of a peer, {@link createClient}
 * signs its requests with them, {@link openRooms} takes part in encrypted rooms: it makes and opens
 * their keys, and sends and receives over NATS.
 *
 * Runs in Deno and Node. Permissions in Deno: `--allow-net` for the control plane, `--allow-read` for
 * files that are stored as blobs.
 *
 * @module
 */

export { createClient } from "./node/client.ts";
export {
  createIdentity,
  exportIdentity,
  type Identity,
  identityFromSeed,
  importIdentity,
} from "../keys/identity.ts";
export { cardOf, readCard } from "../keys/card.ts";
export {
  readIdentity,
  type ReadIdentityOptions,
  writeIdentity,
  type WriteIdentityOptions,
} from "../keys/identity_file.ts";
export {
  type NatsAuthenticator,
  natsAuthenticator,
  type NatsAuthenticatorOptions,
} from "../nats/connection/authenticator.ts";
export { fileMemory } from "./rooms/memory.ts";
export { lockIdentity, type Passphrase, unlockIdentity } from "../keys/passphrase.ts";
export { openRooms } from "./rooms/rooms.ts";
export type * from "./rooms/types.ts";
export { isSealingError, SealingError, type SealingReason } from "../sealing/error.ts";
export type { MessageHeader, MessageKind } from "../sealing/message.ts";
export type * from "./types.ts";
export * from "../core/errors.ts";
export type * from "../core/model.ts";
export type * from "../core/operations.ts";
export type { NonceSigner, Signer } from "../keys/signers.ts";
