/**
 * The nats-server's configuration file, written from typed options.
 *
 * @module
 */

import { resolve } from "node:path";
import { StoreError } from "../../core/errors.ts";

/** A value in a nats-server's configuration; entries that are undefined are left out. */
export type ConfigValue = string | number | boolean | readonly ConfigValue[] | ConfigObject;

/** A block of a nats-server's configuration. */
export interface ConfigObject {
  /** A setting. */
  readonly [key: string]: ConfigValue | undefined;
}

/** A certificate for a listener: paths of PEM files. */
export interface NatsTls {
  /** The server's certificate, with its chain. */
  cert: string;
  /** Its private key. */
  key: string;
  /** The authority that signs the other side's certificates. */
  ca?: string;
  /** Whether the other side must show a certificate signed by `ca`. */
  verify?: boolean;
  /** Seconds a handshake may take. */
  timeout?: number;
}

/** A user the server itself knows, by its public nkey or by a password. */
export type NatsUser =
  | { nkey: string; permissions?: ConfigObject }
  | { user: string; password: string; permissions?: ConfigObject };

/** An account: users in one see nothing of another. */
export interface NatsAccount {
  /** Its users. */
  users?: readonly NatsUser[];
  /** Whether its users may have streams; false by default. */
  jetstream?: boolean;
}

/** The service that decides who may connect. */
export interface NatsAuthCallout {
  /** The account nkey that signs its answers (`A…`). */
  issuer: string;
  /** The account the requests are sent in. */
  account: string;
  /** Users it is not asked about: by name, or by nkey (`U…`). */
  authUsers: readonly string[];
}

/** Who may connect. */
export interface NatsAuthorization {
  /** Users of the default account. */
  users?: readonly NatsUser[];
  /** Seconds a client may take to say who it is, and the callout to answer. */
  timeout?: number;
  /** The service that decides; none by default. */
  callout?: NatsAuthCallout;
}

/** How the server keeps streams. */
export interface NatsJetStream {
  /** The directory of its own it keeps them in. */
  storeDir: string;
  /**
   * Whether each write reaches the disk before it is acknowledged; true by default. The server's own
   * default syncs every two minutes, and a power cut then loses acknowledged writes.
   */
  syncAlways?: boolean;
  /** The most bytes it may keep on disk. */
  maxFileStore?: number;
  /** The most bytes it may keep in memory. */
  maxMemoryStore?: number;
}

/** How the server joins a cluster. */
export interface NatsCluster {
  /** The cluster's name, the same on every server. */
  name: string;
  /** The address routes are accepted on; the client listener's by default. */
  host?: string;
  /** The port routes are accepted on; any free one by default. */
  port?: number;
  /** The other servers, as `host:port`. JetStream needs one at least. */
  routes: readonly string[];
  /** Connections to each other server; one without pooling by default (-1). */
  poolSize?: number;
  /** Whether to keep the addresses of the other servers from clients; true by default. */
  noAdvertise?: boolean;
  /** What routes authenticate with, the same on every server. */
  user?: string;
  /** The password of `user`. */
  password?: string;
  /** A certificate for routes. */
  tls?: NatsTls;
}

/** The settings that say who may connect. */
export type NatsAccess = Pick<
  NatsServerConfig,
  "accounts" | "authorization" | "systemAccount" | "noAuthUser"
>;

/** What a nats-server is told. */
export interface NatsServerConfig {
  /** The address clients connect to; 127.0.0.1 by default. */
  host?: string;
  /** The port clients connect to; any free one by default (-1). */
  port?: number;
  /** The server's name, unique in its cluster. */
  serverName?: string;
  /** Streams; none by default. */
  jetstream?: NatsJetStream;
  /** The cluster to join; none by default. */
  cluster?: NatsCluster;
  /** A certificate for clients. */
  tls?: NatsTls;
  /** Who may connect; everyone who can reach it by default. */
  authorization?: NatsAuthorization;
  /** Accounts by name. */
  accounts?: Readonly<Record<string, NatsAccount>>;
  /** The account that sees the server itself. */
  systemAccount?: string;
  /** The user that a client without credentials becomes, by name. */
  noAuthUser?: string;
  /** A port for monitoring over HTTP, on loopback only; -1 is any free one, none by default. */
  monitoringPort?: number;
  /** The largest message in bytes; the server's default is 1 MiB. */
  maxPayload?: number;
  /** Lines added to the end of the configuration as they are. */
  extra?: string;
}

/** Writes the configuration file's text. Reads the ports in use from `portsFileDir`. */
export function formatNatsConfig(config: NatsServerConfig, portsFileDir: string): string {
  const host = config.host ?? "127.0.0.1";
  const { jetstream, cluster } = config;
  const text = formatBlock({
    host,
    port: config.port ?? -1,
    server_name: config.serverName,
    ports_file_dir: portsFileDir,
    http: config.monitoringPort === undefined ? undefined : `127.0.0.1:${config.monitoringPort}`,
    max_payload: config.maxPayload,
    tls: config.tls && tlsBlock(config.tls),
    ...accessBlock(config),
    jetstream: jetstream && {
      store_dir: resolve(jetstream.storeDir),
      sync_interval: jetstream.syncAlways ?? true ? "always" : undefined,
      max_file_store: jetstream.maxFileStore,
      max_memory_store: jetstream.maxMemoryStore,
    },
    cluster: cluster && {
      name: cluster.name,
      host: cluster.host ?? host,
      port: cluster.port ?? -1,
      pool_size: cluster.poolSize ?? -1,
      no_advertise: cluster.noAdvertise ?? true,
      routes: cluster.routes.map((address) => route(address, cluster)),
      authorization: cluster.user === undefined
        ? undefined
        : { user: cluster.user, password: cluster.password, timeout: 5 },
      tls: cluster.tls && tlsBlock(cluster.tls),
    },
  });
  return `${text}${config.extra ?? ""}\n`;
}

/** Writes only what says who may connect. */
export function formatAccess(config: NatsAccess): string {
  return formatBlock(accessBlock(config));
}

function accessBlock(config: NatsAccess): ConfigObject {
  const { accounts, authorization } = config;
  const { users, timeout, callout } = authorization ?? {};
  return {
    accounts: accounts && Object.fromEntries(
      Object.entries(accounts).map(([name, it]) => [
        // A name is written bare, so it must be nothing but a name.
        accountName(name),
        { users: it.users ?? [], jetstream: it.jetstream ? "enabled" : undefined },
      ]),
    ),
    system_account: config.systemAccount,
    no_auth_user: config.noAuthUser,
    authorization: authorization && {
      users,
      timeout,
      auth_callout: callout && {
        issuer: callout.issuer,
        account: callout.account,
        auth_users: callout.authUsers,
      },
    },
  };
}

function accountName(name: string): string {
  if (/^[A-Za-z][A-Za-z0-9_-]*$/.test(name)) return name;
  throw new StoreError("invalid", "The name of a NATS account must be letters and digits");
}

/** The secrets a configuration holds, in every form they may show up in the server's log. */
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
    timeout: tls.timeout ?? 5,
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
  // The server's quoting has no escapes for these, and no setting of ours needs them.
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new StoreError("invalid", "A nats-server setting holds a control character");
  }
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}
