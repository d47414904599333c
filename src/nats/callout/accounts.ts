/**
 * Who is who on the bus: the clients' account, the control plane's own, and the system account.
 *
 * Accounts share no subject. What the control plane keeps in JetStream lies in its own account, so that
 * no client can name it, whatever its permissions. The control plane's users are known to the server
 * itself and not asked of the callout, so they get in when the callout is down, and mend it.
 *
 * @module
 */

import type { BusAuth } from "../../core/operations.ts";
import { formatAccess, type NatsServerConfig } from "../server/config.ts";

/** The account clients are in. */
export const CLIENT_ACCOUNT = "APP";
/** The account of the control plane: its bucket, its blobs, and the callout. */
export const CONTROL_ACCOUNT = "CONTROL";
/** The system account. */
export const SYSTEM_ACCOUNT = "SYS";

/** `off`: the user that a client without credentials becomes. Its password keeps nobody out. */
export const ANYONE = "anyone";

/** What {@link busAccounts} takes. */
export interface BusAccountsOptions {
  /** How strictly the bus looks at who connects. */
  mode: BusAuth;
  /** The control plane's own keys, as `loadServiceKeys` gives them; their public halves are used. */
  keys: {
    readonly service: { readonly publicKey: string };
    readonly system: { readonly publicKey: string };
    readonly issuer: { readonly publicKey: string };
  };
  /** Seconds the server waits for the callout before it refuses. Default 2. */
  timeout?: number;
}

/** The part of a server's configuration that says who is who. */
export type BusAccounts =
  & Required<Pick<NatsServerConfig, "accounts" | "systemAccount" | "authorization">>
  & Pick<NatsServerConfig, "noAuthUser">;

/**
 * Settings for `startNatsServer`, to be spread into its options.
 *
 * The callout is set in every mode: with `off` it admits those who come with credentials, and those who
 * come without are in even when it is down. Clients have streams of their own unless `enforce` is set.
 */
export function busAccounts(options: BusAccountsOptions): BusAccounts {
  const { mode, keys: { service, system, issuer }, timeout = 2 } = options;
  const off = mode === "off";
  return {
    accounts: {
      [CLIENT_ACCOUNT]: {
        jetstream: mode !== "enforce",
        users: off ? [{ user: ANYONE, password: ANYONE }] : [],
      },
      [CONTROL_ACCOUNT]: { jetstream: true, users: [{ nkey: service.publicKey }] },
      [SYSTEM_ACCOUNT]: { users: [{ nkey: system.publicKey }] },
    },
    systemAccount: SYSTEM_ACCOUNT,
    ...(off ? { noAuthUser: ANYONE } : {}),
    authorization: {
      timeout,
      callout: {
        issuer: issuer.publicKey,
        account: CONTROL_ACCOUNT,
        authUsers: [service.publicKey, system.publicKey, ...(off ? [ANYONE] : [])],
      },
    },
  };
}

/** The same as text, for the configuration of a nats-server that somebody else runs. */
export function formatBusAccounts(options: BusAccountsOptions): string {
  return formatAccess(busAccounts(options));
}
