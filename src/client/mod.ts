/**
 * The client of a control plane. {@link createIdentity} creates the keys of a peer,
 * {@link createClient} calls the control plane with requests signed by them, and {@link openRooms}
 * creates and opens room keys and sends and receives encrypted messages over NATS.
 *
 * Runs in Deno and Node. Permissions in Deno: `--allow-net` for the control plane and the bus,
 * `--allow-read` for files to upload as blobs.
 *
 * @module
 */

export { createClient } from "./node/client.ts";
export { openSession, type SessionOptions } from "./node/session.ts";
export type { Session } from "./session/session.ts";
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
export { fileMemory } from "./node/memory.ts";
export { lockIdentity, type Passphrase, unlockIdentity } from "../keys/passphrase.ts";
export { openRooms } from "./node/rooms.ts";
export type * from "./rooms/types.ts";
export { isSealingError, SealingError, type SealingReason } from "../sealing/error.ts";
export type { MessageHeader, MessageKind } from "../sealing/message.ts";
export type * from "./types.ts";
export * from "../core/errors.ts";
export type * from "../core/model.ts";
export type { HistoryAction, HistoryEntry, SmallValues } from "../core/history/entry.ts";
export type { HistoryQuery } from "../core/history/methods.ts";
export type * from "../core/operations.ts";
export type * from "../core/store/search.ts";
export type { RecordMethods } from "../core/store/records.ts";
export type { NewSession } from "../keys/codec/session.ts";
export type { NonceSigner, SessionSigner, Signer } from "../keys/signers.ts";
