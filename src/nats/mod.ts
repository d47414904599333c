/**
 * NATS for unibus: runs a nats-server and controls who can connect to it and which subjects they
 * can use.
 *
 * - {@link superviseNatsServer} runs a nats-server and restarts it when it exits, configured by
 *   {@link busAccounts}.
 * - {@link loadServiceKeys} loads the control plane's own keys.
 * - {@link startAuthCallout} admits active users, limited to the subjects of their rooms, and
 *   closes connections whose permissions have changed.
 *
 * Deno permissions: `--allow-net` and `--allow-env` for the callout; running a nats-server also
 * needs `--allow-run`, `--allow-read`, `--allow-write` and `--allow-sys`.
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
