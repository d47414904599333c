/**
 * The accounts of the bus: one for clients, one for the control plane, and the system account.
 *
 * Accounts share no subjects. The control plane's JetStream data is in its own account, so that no
 * client can access it, whatever its permissions. The control plane's users are in the server's
 * configuration and bypass the callout, so that they can connect and repair it while it is down.
 *
 * @module
 */

import type { BusAuth } from "../../core/operations.ts";
import { LOGIN_MS } from "../connection/connect.ts";
import { formatAccess, type NatsServerConfig, type NatsUser } from "../server/config.ts";

/** The account of the clients. */
export const CLIENT_ACCOUNT = "APP";
/** The account of the control plane: its bucket, its blobs, and the callout. */
export const CONTROL_ACCOUNT = "CONTROL";
/** The system account. */
export const SYSTEM_ACCOUNT = "SYS";

/** With `off`: the user assigned to clients without credentials. Its password is not a secret. */
export const ANYONE = "anyone";

/** Options of {@link busAccounts}. */
export interface BusAccountsOptions {
  /** How the bus authenticates clients. */
  mode: BusAuth;
  /** The control plane's own keys from `loadServiceKeys`; only the public keys are used. */
  keys: {
    readonly service: { readonly publicKey: string };
    readonly system: { readonly publicKey: string };
    readonly issuer: { readonly publicKey: string };
  };
  /**
   * Time in seconds that the server waits for the callout before it rejects a client. Default 2.
   */
  timeout?: number;
}

/** The accounts and authentication settings of a server's configuration. */
export type BusAccounts =
  & Required<Pick<NatsServerConfig, "accounts" | "systemAccount" | "authorization">>
  & Pick<NatsServerConfig, "noAuthUser">;

/**
 * Returns accounts and authentication settings to spread into the options of `startNatsServer`.
 *
 * The callout is configured in every mode: with `off` it admits clients with credentials, while
 * clients without credentials can connect even when it is down. Clients can use JetStream unless
 * the mode is `enforce`.
 */
export function busAccounts(options: BusAccountsOptions): BusAccounts {
  const { mode, keys: { service, system, issuer }, timeout = LOGIN_MS / 1000 } = options;
  const off = mode === "off";
  return {
    accounts: {
      [CLIENT_ACCOUNT]: {
        jetstream: mode !== "enforce",
        users: off ? [{ user: ANYONE, password: ANYONE }] : [],
      },
      [CONTROL_ACCOUNT]: { jetstream: true, users: [ownUser(service)] },
      [SYSTEM_ACCOUNT]: { users: [ownUser(system)] },
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

/** A user of the control plane, which connects over TCP only: not from a web page. */
function ownUser({ publicKey }: { readonly publicKey: string }): NatsUser {
  return { nkey: publicKey, connectionTypes: ["STANDARD"] };
}

/**
 * Formats the same settings as text, for the configuration of a nats-server that we do not manage.
 */
export function formatBusAccounts(options: BusAccountsOptions): string {
  return formatAccess(busAccounts(options));
}
