/**
 * Formats a nats-server's configuration file from typed options.
 *
 * @module
 */

import { resolve } from "node:path";
import { StoreError } from "../../core/errors.ts";

/** A value in a nats-server's configuration; undefined entries are omitted. */
export type ConfigValue = string | number | boolean | readonly ConfigValue[] | ConfigObject;

/** A block of a nats-server's configuration. */
export interface ConfigObject {
  /** A setting. */
  readonly [key: string]: ConfigValue | undefined;
}

/** The TLS certificate of a listener: paths of PEM files. */
export interface NatsTls {
  /** The server's certificate, with its chain. */
  cert: string;
  /** Its private key. */
  key: string;
  /** The authority that signs the peers' certificates. */
  ca?: string;
  /** Whether a peer must present a certificate signed by `ca`. */
  verify?: boolean;
}

/** A user in the server's own configuration, with a public nkey or a password. */
export type NatsUser =
  & ({ nkey: string } | { user: string; password: string })
  & {
    permissions?: ConfigObject;
    /** Kinds of connections it may use, such as `STANDARD` or `WEBSOCKET`. Default: all. */
    connectionTypes?: readonly string[];
  };

/** An account: subjects and streams of one account are isolated from the others. */
export interface NatsAccount {
  /** Its users. */
  users?: readonly NatsUser[];
  /** Whether its users can use JetStream. Default false. */
  jetstream?: boolean;
}

/** The auth callout: a service that authenticates clients. */
export interface NatsAuthCallout {
  /** The account nkey that signs its answers (`A…`). */
  issuer: string;
  /** The account to which the requests are sent. */
  account: string;
  /** Users that bypass the callout: by name, or by nkey (`U…`). */
  authUsers: readonly string[];
}

/** Authentication settings. */
export interface NatsAuthorization {
  /** Users of the default account. */
  users?: readonly NatsUser[];
  /** Time limit in seconds for a client to authenticate and for the callout to answer. */
  timeout?: number;
  /** The auth callout. Default none. */
  callout?: NatsAuthCallout;
}

/** JetStream settings. */
export interface NatsJetStream {
  /** The directory of the streams, used by this server only. */
  storeDir: string;
  /**
   * Whether each write is synced to disk before it is acknowledged. Default true. The server's own
   * default syncs every two minutes, so a power failure loses acknowledged writes.
   */
  syncAlways?: boolean;
  /** Maximum size on disk in bytes. */
  maxFileStore?: number;
}

/** Cluster settings. */
export interface NatsCluster {
  /** The cluster's name, the same on every server. */
  name: string;
  /** Listen address for routes. Default: the address of the client listener. */
  host?: string;
  /** Listen port for routes. Default: any free port. */
  port?: number;
  /** The other servers, as `host:port`. JetStream needs at least one. */
  routes: readonly string[];
  /** User name for routes, the same on every server. */
  user?: string;
  /** The password of `user`. */
  password?: string;
  /** The TLS certificate of the route listener. */
  tls?: NatsTls;
}

/** The WebSocket listener, for browsers. */
export interface NatsWebSocket {
  /** Listen address. Default: the address of the client listener. */
  host?: string;
  /** Listen port. Default -1: any free port. */
  port?: number;
  /** Its TLS certificate. Default none: connections are not encrypted. */
  tls?: NatsTls;
  /**
   * Origins of the web pages that may connect, such as `https://bus.example.org`. Browsers send the
   * page's; a connection without one is not refused. At least one.
   */
  origins: readonly string[];
}

/** The settings for accounts and authentication. */
export type NatsAccess = Pick<
  NatsServerConfig,
  "accounts" | "authorization" | "systemAccount" | "noAuthUser"
>;

/** The configuration of a nats-server. */
export interface NatsServerConfig {
  /** Listen address for clients. Default 127.0.0.1. */
  host?: string;
  /** Listen port for clients. Default -1: any free port. */
  port?: number;
  /** The server's name, unique in its cluster. */
  serverName?: string;
  /** JetStream. Default: disabled. */
  jetstream?: NatsJetStream;
  /** The cluster to join. Default none. */
  cluster?: NatsCluster;
  /** The TLS certificate of the client listener. */
  tls?: NatsTls;
  /** The WebSocket listener. Default none. */
  websocket?: NatsWebSocket;
  /** Authentication. Default: anyone who can reach the server can connect. */
  authorization?: NatsAuthorization;
  /** Accounts by name. */
  accounts?: Readonly<Record<string, NatsAccount>>;
  /** The system account, which can monitor and control the server. */
  systemAccount?: string;
  /** Name of the user assigned to clients without credentials. */
  noAuthUser?: string;
  /** HTTP monitoring port, on loopback only; -1 means any free port. Default none. */
  monitoringPort?: number;
  /** Text appended to the configuration unchanged. */
  extra?: string;
}

/** Formats the configuration file. The server writes its ports file to `portsFileDir`. */
export function formatNatsConfig(config: NatsServerConfig, portsFileDir: string): string {
  const host = config.host ?? "127.0.0.1";
  const { jetstream, cluster, websocket } = config;
  const text = formatBlock({
    host,
    port: config.port ?? -1,
    server_name: config.serverName,
    ports_file_dir: portsFileDir,
    http: config.monitoringPort === undefined ? undefined : `127.0.0.1:${config.monitoringPort}`,
    tls: config.tls && tlsBlock(config.tls),
    websocket: websocket && websocketBlock(websocket, host),
    ...accessBlock(config),
    jetstream: jetstream && {
      store_dir: resolve(jetstream.storeDir),
      sync_interval: jetstream.syncAlways ?? true ? "always" : undefined,
      max_file_store: jetstream.maxFileStore,
    },
    cluster: cluster && {
      name: cluster.name,
      host: cluster.host ?? host,
      port: cluster.port ?? -1,
      pool_size: -1,
      no_advertise: true,
      routes: cluster.routes.map((address) => route(address, cluster)),
      authorization: cluster.user === undefined
        ? undefined
        : { user: cluster.user, password: cluster.password, timeout: 5 },
      tls: cluster.tls && tlsBlock(cluster.tls),
    },
  });
  return `${text}${config.extra ?? ""}\n`;
}

/** Formats only the accounts and authentication settings. */
export function formatAccess(config: NatsAccess): string {
  return formatBlock(accessBlock(config));
}

function accessBlock(config: NatsAccess): ConfigObject {
  const { accounts, authorization } = config;
  const { users, timeout, callout } = authorization ?? {};
  return {
    accounts: accounts && Object.fromEntries(
      Object.entries(accounts).map(([name, account]) => [
        // Names are written without quotes, so they must not contain other syntax.
        accountName(name),
        {
          users: (account.users ?? []).map(userBlock),
          jetstream: account.jetstream ? "enabled" : undefined,
        },
      ]),
    ),
    system_account: config.systemAccount,
    no_auth_user: config.noAuthUser,
    authorization: authorization && {
      users: users?.map(userBlock),
      timeout,
      auth_callout: callout && {
        issuer: callout.issuer,
        account: callout.account,
        auth_users: callout.authUsers,
      },
    },
  };
}

function userBlock({ connectionTypes, ...user }: NatsUser): ConfigObject {
  return { ...user, allowed_connection_types: connectionTypes };
}

function websocketBlock(
  { host, port, tls, origins }: NatsWebSocket,
  clientHost: string,
): ConfigObject {
  // The server takes an empty list for any origin.
  if (origins.length === 0) {
    throw new StoreError("invalid", "The WebSocket listener has no origin that may connect", {
      field: "websocket",
    });
  }
  return {
    host: host ?? clientHost,
    port: port ?? -1,
    ...tls === undefined ? { no_tls: true } : { tls: tlsBlock(tls) },
    allowed_origins: origins,
    handshake_timeout: "10s",
  };
}

function accountName(name: string): string {
  if (/^[A-Za-z][A-Za-z0-9_-]*$/.test(name)) return name;
  throw new StoreError(
    "invalid",
    "A NATS account name must start with a letter and contain only letters, digits, - and _",
  );
}

/** Returns the secrets in a configuration, in every form in which the server may log them. */
export function configSecrets(config: NatsServerConfig): string[] {
  const users = [
    ...config.authorization?.users ?? [],
    ...Object.values(config.accounts ?? {}).flatMap((it) => it.users ?? []),
  ];
  const passwords = [config.cluster?.password, ...users.map((u) => "nkey" in u ? "" : u.password)];
  return passwords.filter((secret) => secret !== undefined && secret !== "")
    .flatMap((secret) => [secret!, encodeURIComponent(secret!)]);
}

function tlsBlock(tls: NatsTls): ConfigObject {
  return {
    cert_file: resolve(tls.cert),
    key_file: resolve(tls.key),
    ca_file: tls.ca === undefined ? undefined : resolve(tls.ca),
    verify: tls.verify,
    timeout: 5,
  };
}

function route(address: string, { user, password = "" }: NatsCluster): string {
  const credentials = user === undefined
    ? ""
    : `${encodeURIComponent(user)}:${encodeURIComponent(password)}@`;
  return `nats://${credentials}${address}`;
}

function formatBlock(block: ConfigObject, indent = ""): string {
  let text = "";
  for (const [key, value] of Object.entries(block)) {
    if (value !== undefined) text += `${indent}${key}: ${formatValue(value, indent)}\n`;
  }
  return text;
}

function formatValue(value: ConfigValue, indent: string): string {
  if (typeof value === "string") return quote(value);
  if (typeof value !== "object") return String(value);
  const inner = `${indent}  `;
  if (!isList(value)) return `{\n${formatBlock(value, inner)}${indent}}`;
  return `[\n${value.map((v) => `${inner}${formatValue(v, inner)}\n`).join("")}${indent}]`;
}

function isList(value: readonly ConfigValue[] | ConfigObject): value is readonly ConfigValue[] {
  return Array.isArray(value);
}

function quote(text: string): string {
  // The configuration syntax cannot escape these, and no setting needs them.
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new StoreError("invalid", "A nats-server setting contains a control character");
  }
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}
