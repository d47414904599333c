/**
 * The server's settings: one table that defines flags, environment variables, file keys and help.
 *
 * @module
 */

import { dirname } from "node:path";
import { BUS_AUTH } from "../../src/core/operations.ts";
import { DEFAULT_DB } from "../command.ts";
import * as read from "./read.ts";

/** One setting. */
export interface Spec<T> {
  /** Its flag with a placeholder for the value. */
  readonly flag: string;
  /** Its help text. */
  readonly help: string;
  /** Its default value. */
  readonly fallback: T;
  /** The default value as shown in the help. */
  readonly shown?: string;
  /** Parses a value; throws {@link read.BadValue}. */
  readonly read: (value: string) => T;
  /** Can be repeated; values are joined with commas. */
  readonly many?: true;
}

function spec<T>(
  flag: string,
  help: string,
  reader: (value: string) => T,
  fallback: NoInfer<T>,
  shown?: string,
): Spec<T> {
  return {
    flag,
    help,
    fallback,
    read: reader,
    ...(shown === undefined ? {} : { shown }),
    ...(Array.isArray(fallback) ? { many: true } : {}),
  };
}

/** Defines a setting without a default value. */
function optional<T>(
  flag: string,
  help: string,
  reader: (value: string) => T,
): Spec<T | null> {
  return spec<T | null>(flag, help, reader, null);
}

/** All settings, by their name in the file. */
export const SPECS = {
  bind: spec(
    "--bind <address>",
    "listen address for HTTP and NATS; any but loopback requires --bus-auth enforce",
    read.address,
    "127.0.0.1",
  ),
  httpPort: spec("--http-port <port>", "HTTP port", read.port, 8470),
  natsPort: spec("--nats-port <port>", "NATS port", read.port, 4250),
  wsPort: optional(
    "--ws-port <port>",
    "port of NATS over WebSocket, for browsers, or none (default: 4252 on a loopback address with the " +
      "default --nats-port, else none)",
    read.portOrNone,
  ),
  wsUrl: spec(
    "--ws-url <url>",
    "URL by which browsers reach --ws-port, if it is another one, for example of a reverse proxy; can " +
      "be repeated",
    read.list(read.wsUrl),
    [],
    "the --bind address, or the name in the certificate",
  ),
  wsOrigin: spec(
    "--ws-origin <origin>",
    "web pages that may use --ws-port besides this server's own, such as https://chat.example.org; can " +
      "be repeated",
    read.list(read.origin),
    [],
  ),
  tlsCert: optional(
    "--tls-cert <file>",
    "PEM file with the certificate for HTTP and NATS, including its chain",
    read.text,
  ),
  tlsKey: optional("--tls-key <file>", "PEM file with its private key", read.text),
  authority: spec(
    "--authority <name>",
    "public host or host:port of HTTP, for example of a reverse proxy; with enforce, requests " +
      "signed for other names are rejected; can be repeated",
    read.list(read.authority),
    [],
    "the names in the certificate, or those of a loopback address",
  ),
  publicUrl: spec(
    "--public-url <url>",
    "URL by which clients reach this node: https:// or http:// for HTTP, tls:// or nats:// for NATS; " +
      "clients learn those of all nodes from any of them; can be repeated",
    read.list(read.publicUrl),
    [],
    "the --bind address, or the name in the certificate",
  ),
  console: spec(
    "--no-console",
    "disable the admin console at /console",
    read.truth,
    true,
  ),

  busAuth: spec(
    "--bus-auth <mode>",
    "off: anyone who can reach the ports can do everything; soft: like off, but logs what enforce " +
      "would reject; enforce: only active users, each limited to their rooms",
    read.oneOf(...BUS_AUTH),
    "off",
  ),
  serviceKeys: optional(
    "--service-keys <file>",
    "service keys of this node, created at the first start (default: service-keys.json next to the " +
      "--db file)",
    read.text,
  ),

  store: spec(
    "--store <kind>",
    "sqlite: in the --db file; jetstream: in the NATS server, replicated in a cluster",
    read.oneOf("sqlite", "jetstream"),
    "sqlite",
  ),
  db: spec("--db <file>", "SQLite file", read.text, DEFAULT_DB),
  follower: optional(
    "--follower <file>",
    "SQLite file that keeps a second copy of --store jetstream, or none (default: follower.db next " +
      "to the --db file)",
    read.text,
  ),
  storeDir: spec(
    "--store-dir <directory>",
    "directory of the blobs; with --store jetstream they are stored in JetStream instead",
    read.text,
    "./local_files/blobs",
  ),
  maxBlobBytes: spec(
    "--max-blob-bytes <size>",
    "maximum size of a blob",
    read.bytes,
    64 * 2 ** 20,
    "64MiB",
  ),
  bucket: optional(
    "--bucket <name>",
    "bucket of --store jetstream (default: UNIBUS)",
    read.name,
  ),
  history: spec(
    "--no-history",
    "do not record who changed what",
    read.truth,
    true,
  ),
  replicas: optional(
    "--replicas <n>",
    "number of copies when the bucket is created, 1 to 5 (default: 1)",
    read.whole(1, 5),
  ),

  maxBlobBytesPerUser: spec(
    "--max-blob-bytes-per-user <size>",
    "maximum total size of one user's blobs",
    read.bytes,
    2 ** 30,
    "1GiB",
  ),
  diskReserve: spec(
    "--disk-reserve <size>",
    "disk space that blobs leave free for the control plane",
    read.bytes,
    256 * 2 ** 20,
    "256MiB",
  ),
  maxRoomsPerOwner: spec(
    "--max-rooms-per-owner <n>",
    "maximum number of rooms owned by one user",
    read.whole(0, 1_000_000),
    500,
  ),
  maxMembersPerRoom: spec(
    "--max-members-per-room <n>",
    "maximum number of members of a room, including its owner",
    read.whole(1, 1_000_000),
    10_000,
  ),
  maxEpochsKept: spec(
    "--max-epochs-kept <n>",
    "number of epochs whose sealed keys a room keeps, at least 2; a rekey removes older ones",
    read.whole(2, 1_000_000),
    100,
  ),
  keepInvites: spec(
    "--keep-invites <days>",
    "number of days that used, expired and canceled invites are kept",
    read.whole(1, 36_500),
    30,
  ),
  historyDays: spec(
    "--history-days <days>",
    "number of days that the history is kept",
    read.whole(1, 36_500),
    400,
  ),
  historyRows: optional(
    "--history-rows <n>",
    "maximum number of entries of the history (default: unlimited)",
    read.whole(1, 999_999_999),
  ),
  maxBodyMemory: spec(
    "--max-body-memory <size>",
    "maximum memory for all request bodies; one key can use a quarter of it",
    read.bytes,
    64 * 2 ** 20,
    "64MiB",
  ),
  maxConnectionsPerAddress: optional(
    "--max-connections-per-address <n>",
    "maximum number of HTTP connections from one address (default: 512; unlimited if bound to a " +
      "loopback address)",
    read.whole(1, 1_000_000),
  ),

  natsStore: spec(
    "--nats-store <directory>",
    "directory of the nats-server's streams",
    read.text,
    "./local_files/jetstream",
  ),

  natsMaxStore: optional(
    "--nats-max-store <size>",
    "maximum total size of the streams (default: the available disk space)",
    read.bytes,
  ),

  natsUrl: spec(
    "--nats-url <url>",
    "use this NATS server instead of starting one; repeat it for other servers of a cluster",
    read.natsUrls,
    [],
  ),
  ca: optional(
    "--ca <file>",
    "PEM file with the certificate authority of the NATS server, or of --tls-cert",
    read.text,
  ),
  nkeySeedFile: optional(
    "--nkey-seed-file <file>",
    "seed of the service user, in the control plane's account",
    read.text,
  ),
  creds: optional(
    "--creds <file>",
    "credentials of the service user, instead of its seed",
    read.text,
  ),
  systemSeedFile: optional(
    "--system-seed-file <file>",
    "seed of the system account user, which closes the connections of revoked users",
    read.text,
  ),
  issuerSeedFile: optional(
    "--issuer-seed-file <file>",
    "seed of the issuer in the server's auth_callout block",
    read.text,
  ),

  clusterName: optional(
    "--cluster-name <name>",
    "the cluster's name, the same on every node",
    read.name,
  ),
  serverName: optional(
    "--server-name <name>",
    "this node's name, unique on every node",
    read.name,
  ),
  clusterPort: spec(
    "--cluster-port <port>",
    "port for connections from other nodes",
    read.port,
    6250,
  ),
  routes: spec(
    "--routes <addresses>",
    "host:port of the other nodes' cluster ports, separated by commas",
    read.list(read.route),
    [],
  ),
  clusterUser: optional(
    "--cluster-user <name>",
    "user name of the route secret, the same on every node",
    read.text,
  ),
  clusterPass: optional(
    "--cluster-pass <secret>",
    "the route secret; prefer a file or the environment, because command lines are visible to others",
    read.text,
  ),
  clusterPassFile: optional(
    "--cluster-pass-file <file>",
    "file with the route secret",
    read.text,
  ),
  routeTlsCert: optional(
    "--route-tls-cert <file>",
    "PEM file with this node's certificate for routes",
    read.text,
  ),
  routeTlsKey: optional(
    "--route-tls-key <file>",
    "PEM file with its private key",
    read.text,
  ),
  routeTlsCa: optional(
    "--route-tls-ca <file>",
    "PEM file with the certificate authority of all nodes",
    read.text,
  ),

  logFormat: spec(
    "--log-format <format>",
    "text or json, one line per event, on stderr",
    read.oneOf("text", "json"),
    "text",
  ),
  logLevel: spec(
    "--log-level <level>",
    "minimum level: debug (every request), info, warn or error",
    read.oneOf("debug", "info", "warn", "error"),
    "info",
  ),
} as const;

/** The name of a setting in the file. */
export type Key = keyof typeof SPECS;

/** Headings of the help, by the first setting below each. */
export const HEADINGS: Readonly<Record<string, string>> = {
  bind: "Listening:",
  busAuth: "Authentication:",
  store: "Store:",
  maxBlobBytesPerUser: "Limits:",
  natsStore: "NATS server:",
  natsUrl: "External NATS server:",
  clusterName: "Cluster:",
  logFormat: "Running:",
};

/** All settings with their values. */
export type Settings = {
  readonly [K in Key]: (typeof SPECS)[K] extends Spec<infer T> ? T : never;
};

/** The settings' names. */
export const KEYS = Object.keys(SPECS) as Key[];

/** Returns a setting's flag without the placeholder: `--http-port`. */
export function flagOf(key: Key): string {
  return SPECS[key].flag.split(" ")[0]!;
}

/**
 * Returns the environment variable of a setting: `UNIBUS_HTTP_PORT` for `--http-port`. For
 * `--no-console` it is `UNIBUS_CONSOLE=false`.
 */
export function variableOf(key: Key): string {
  const name = flagOf(key).replace(/^--(no-)?/, "");
  return `UNIBUS_${name.replaceAll("-", "_").toUpperCase()}`;
}

/** Returns the path of the service key file. */
export function serviceKeysPath({ serviceKeys, db }: Settings): string {
  return serviceKeys ?? `${dirname(db)}/service-keys.json`;
}

/** Returns the path of the follower's file; `null` where none is kept. */
export function followerPath(
  { store, db, follower }: Pick<Settings, "store" | "db" | "follower">,
): string | null {
  if (store !== "jetstream" || follower === "none") return null;
  return follower ?? `${dirname(db)}/follower.db`;
}
