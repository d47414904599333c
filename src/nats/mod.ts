/**
 * NATS for unibus: running a nats-server, and deciding who may connect to it and what they may do.
 *
 * - {@link superviseNatsServer} keeps a nats-server up, configured by {@link busAccounts}.
 * - {@link loadServiceKeys} gives the control plane its own keys.
 * - {@link startAuthCallout} lets active users in, onto the subjects of their rooms only, and ends
 *   connections whose user may no longer do what they could.
 *
 * Permissions in Deno: `--allow-net` and `--allow-env` for the callout; a nats-server of its own takes
 * `--allow-run`, `--allow-read`, `--allow-write` and `--allow-sys` as well.
 *
 * @module
 */

export * from "./types.ts";
export {
  type BusAccounts,
  busAccounts,
  type BusAccountsOptions,
  CLIENT_ACCOUNT,
  CONTROL_ACCOUNT,
  formatBusAccounts,
  SYSTEM_ACCOUNT,
} from "./callout/accounts.ts";
export {
  type NatsAuthenticator,
  natsAuthenticator,
  type NatsAuthenticatorOptions,
} from "./connection/authenticator.ts";
export type { NonceSigner } from "../keys/signers.ts";
export { startAuthCallout } from "./callout/callout.ts";
export type { Connection, NatsOptions, TlsOptions } from "./connection/connect.ts";
export type { Store } from "../core/store.ts";
export { inboxPrefixOf, isDataPlaneSubject } from "./callout/grant.ts";
export { localTls, type LocalTlsOptions } from "./connection/local_tls.ts";
export {
  createNkey,
  natsUserOf,
  nkeyFromSeed,
  type NkeyKind,
  type NkeyPair,
  signPubOf,
} from "../keys/nkey.ts";
export {
  loadServiceKeys,
  type LoadServiceKeysOptions,
  type ServiceKeys,
} from "./connection/service_keys.ts";
export * from "./server/server.ts";
export * from "./server/supervise.ts";
