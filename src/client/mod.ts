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

export { createClient } from "./client.ts";
export {
  createIdentity,
  exportIdentity,
  type Identity,
  identityFromSeed,
  importIdentity,
} from "./identity.ts";
export { cardOf, readCard } from "./card.ts";
export {
  readIdentity,
  type ReadIdentityOptions,
  writeIdentity,
  type WriteIdentityOptions,
} from "./identity_file.ts";
export {
  type NatsAuthenticator,
  natsAuthenticator,
  type NatsAuthenticatorOptions,
  type NonceSigner,
} from "../nats/authenticator.ts";
export { fileMemory } from "./memory.ts";
export { lockIdentity, type Passphrase, unlockIdentity } from "./passphrase.ts";
export { openRooms } from "./rooms.ts";
export type * from "./rooms_types.ts";
export { isSealingError, SealingError, type SealingReason } from "../sealing/error.ts";
export type { MessageHeader, MessageKind } from "../sealing/message.ts";
export type * from "./types.ts";
export * from "../errors.ts";
export type * from "../model.ts";
export type * from "../operations.ts";
export type { Signer } from "../signature/sign.ts";
