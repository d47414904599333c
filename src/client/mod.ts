/**
 * The client of a control plane: {@link createIdentity} makes the keys of a peer, {@link createClient}
 * signs its requests with them.
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
export type * from "./types.ts";
export * from "../errors.ts";
export type * from "../model.ts";
export type { Signer } from "../signature/sign.ts";
