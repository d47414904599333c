/**
 * The server's settings: one table from which its flags, environment, file and help are made.
 *
 * @module
 */

import { dirname } from "node:path";
import { BUS_AUTH } from "../../../src/core/operations.ts";
import { DEFAULT_DB } from "../../command.ts";
import * as read from "./read.ts";

/** One setting. */
export interface Spec<T> {
  /** Its flag, with a word for its value. */
  readonly flag: string;
  /** The heading it stands under in the help. */
  readonly group: Group;
  /** What it is. */
  readonly help: string;
  /** Its value when nobody gives one. */
  readonly fallback: T;
  /** What the help shows as its value when nobody gives one. */
  readonly shown?: string;
  /** Reads a value; throws {@link read.BadValue}. */
  readonly read: (value: string) => T;
  /** May be repeated; values are joined with commas. */
  readonly many?: true;
}

/** Headings of the help. */
export type Group =
  | "Listening:"
  | "Who may connect:"
  | "Store:"
  | "Limits:"
  | "NATS server:"
  | "Another NATS server:"
  | "Cluster:"
  | "Running:";

function spec<T>(
  group: Group,
  flag: string,
  help: string,
  reader: (value: string) => T,
  fallback: NoInfer<T>,
  shown?: string,
): Spec<T> {
  return {
    flag,
    group,
    help,
    fallback,
    read: reader,
    ...(shown === undefined ? {} : { shown }),
    ...(Array.isArray(fallback) ? { many: true } : {}),
  };
}

/** A setting that has no value when nobody gives one. */
function optional<T>(
  group: Group,
  flag: string,
  help: string,
  reader: (value: string) => T,
): Spec<T | null> {
  return spec<T | null>(group, flag, help, reader, null);
}

const LISTENING = "Listening:";
const AUTH = "Who may connect:";
const STORE = "Store:";
const LIMITS = "Limits:";
const NATS = "NATS server:";
const OTHER = "Another NATS server:";
const CLUSTER = "Cluster:";
const RUNNING = "Running:";

/** All settings, by the name they have in the file. */
export const SPECS = {
  bind: spec(
    LISTENING,
    "--bind <address>",
    "address of HTTP and NATS; any but loopback needs --bus-auth enforce",
    read.address,
    "127.0.0.1",
  ),
  httpPort: spec(LISTENING, "--http-port <port>", "port of HTTP", read.port, 8470),
  natsPort: spec(LISTENING, "--nats-port <port>", "port of NATS", read.port, 4250),
  tlsCert: optional(
    LISTENING,
    "--tls-cert <file>",
    "PEM file with the certificate of HTTP and NATS, and its chain",
    read.text,
  ),
  tlsKey: optional(LISTENING, "--tls-key <file>", "PEM file with its private key", read.text),
  authority: spec(
    LISTENING,
    "--authority <name>",
    "host or host:port by which HTTP is reached, as behind a proxy; requests signed for other " +
      "names are refused under enforce; repeat it for more",
    read.list(read.authority),
    [],
    "the names in the certificate, or of a loopback bind",
  ),
  console: spec(
    LISTENING,
    "--no-console",
    "leave out the admins' console at /console",
    read.truth,
    true,
  ),

  busAuth: spec(
    AUTH,
    "--bus-auth <mode>",
    "off: everybody who reaches the ports may do everything; soft: as off, but the log tells what " +
      "enforce would refuse; enforce: registered users only, each in their own rooms",
    read.oneOf(...BUS_AUTH),
    "off",
  ),
  serviceKeys: optional(
    AUTH,
    "--service-keys <file>",
    "keys of this node's own services, made at the first start (default: service-keys.json beside " +
      "the --db file)",
    read.text,
  ),

  store: spec(
    STORE,
    "--store <kind>",
    "sqlite: in the --db file; jetstream: in the NATS server itself, which a cluster replicates",
    read.oneOf("sqlite", "jetstream"),
    "sqlite",
  ),
  db: spec(STORE, "--db <file>", "SQLite file", read.text, DEFAULT_DB),
  storeDir: spec(
    STORE,
    "--store-dir <directory>",
    "blobs; with --store jetstream they are in JetStream instead",
    read.text,
    "./local_files/blobs",
  ),
  maxBlobBytes: spec(
    STORE,
    "--max-blob-bytes <size>",
    "largest blob",
    read.bytes,
    64 * 2 ** 20,
    "64MiB",
  ),
  bucket: optional(
    STORE,
    "--bucket <name>",
    "bucket of --store jetstream (default: UNIBUS)",
    read.name,
  ),
  replicas: optional(
    STORE,
    "--replicas <n>",
    "copies of the bucket where it is made, 1 to 5 (default: 1)",
    read.whole(1, 5),
  ),

  maxBlobBytesPerUser: spec(
    LIMITS,
    "--max-blob-bytes-per-user <size>",
    "bytes of blobs that one user may keep",
    read.bytes,
    2 ** 30,
    "1GiB",
  ),
  diskReserve: spec(
    LIMITS,
    "--disk-reserve <size>",
    "disk that blobs leave free for the control plane",
    read.bytes,
    256 * 2 ** 20,
    "256MiB",
  ),
  maxRoomsPerOwner: spec(
    LIMITS,
    "--max-rooms-per-owner <n>",
    "rooms that one user may own",
    read.whole(0, 1_000_000),
    500,
  ),
  maxMembersPerRoom: spec(
    LIMITS,
    "--max-members-per-room <n>",
    "members of a room, its owner included",
    read.whole(1, 1_000_000),
    10_000,
  ),
  maxEpochsKept: spec(
    LIMITS,
    "--max-epochs-kept <n>",
    "epochs of a room whose sealed keys are kept, at least 2; a rekey removes the oldest",
    read.whole(2, 1_000_000),
    100,
  ),
  keepInvites: spec(
    LIMITS,
    "--keep-invites <days>",
    "days that used, expired and canceled invites are kept",
    read.whole(1, 36_500),
    30,
  ),
  maxBodyMemory: spec(
    LIMITS,
    "--max-body-memory <size>",
    "memory for the bodies of all requests together; one key may use a quarter of it",
    read.bytes,
    64 * 2 ** 20,
    "64MiB",
  ),
  maxConnectionsPerAddress: optional(
    LIMITS,
    "--max-connections-per-address <n>",
    "HTTP connections from one address (default: 512; on a loopback bind there is no limit unless " +
      "this is set)",
    read.whole(1, 1_000_000),
  ),

  natsStore: spec(
    NATS,
    "--nats-store <directory>",
    "where our nats-server keeps its streams",
    read.text,
    "./local_files/jetstream",
  ),

  natsMaxStore: optional(
    NATS,
    "--nats-max-store <size>",
    "most bytes of those streams (default: what the disk has for them)",
    read.bytes,
  ),

  natsUrl: spec(
    OTHER,
    "--nats-url <url>",
    "use this NATS server and start none; repeat it for more of a cluster",
    read.list(read.natsUrl),
    [],
  ),
  ca: optional(
    OTHER,
    "--ca <file>",
    "PEM file with the authority that signed the certificate of the NATS server, or our own",
    read.text,
  ),
  nkeySeedFile: optional(
    OTHER,
    "--nkey-seed-file <file>",
    "seed of our service user, in the account of the control plane",
    read.text,
  ),
  creds: optional(
    OTHER,
    "--creds <file>",
    "credentials of our service user, instead of its seed",
    read.text,
  ),
  systemSeedFile: optional(
    OTHER,
    "--system-seed-file <file>",
    "seed of our user in the system account, which ends the connections of the revoked",
    read.text,
  ),
  issuerSeedFile: optional(
    OTHER,
    "--issuer-seed-file <file>",
    "seed of the issuer that the server's auth_callout block names",
    read.text,
  ),

  clusterName: optional(
    CLUSTER,
    "--cluster-name <name>",
    "the cluster's name, the same on every node",
    read.name,
  ),
  serverName: optional(
    CLUSTER,
    "--server-name <name>",
    "this node's name, another on every node",
    read.name,
  ),
  clusterPort: spec(CLUSTER, "--cluster-port <port>", "port for the other nodes", read.port, 6250),
  routes: spec(
    CLUSTER,
    "--routes <addresses>",
    "host:port of the other nodes' cluster ports, with commas between them",
    read.list(read.route),
    [],
  ),
  clusterUser: optional(
    CLUSTER,
    "--cluster-user <name>",
    "user of the route secret, the same on every node",
    read.text,
  ),
  clusterPass: optional(
    CLUSTER,
    "--cluster-pass <secret>",
    "the route secret; better in a file or the environment, as others see the command line",
    read.text,
  ),
  clusterPassFile: optional(
    CLUSTER,
    "--cluster-pass-file <file>",
    "file with the route secret",
    read.text,
  ),
  routeTlsCert: optional(
    CLUSTER,
    "--route-tls-cert <file>",
    "PEM file with this node's certificate for the other nodes",
    read.text,
  ),
  routeTlsKey: optional(
    CLUSTER,
    "--route-tls-key <file>",
    "PEM file with its private key",
    read.text,
  ),
  routeTlsCa: optional(
    CLUSTER,
    "--route-tls-ca <file>",
    "PEM file with the authority that signed the certificates of all nodes",
    read.text,
  ),

  logFormat: spec(
    RUNNING,
    "--log-format <format>",
    "text or json, one line an event, on stderr",
    read.oneOf("text", "json"),
    "text",
  ),
  logLevel: spec(
    RUNNING,
    "--log-level <level>",
    "least level that is logged: debug (every request), info, warn or error",
    read.oneOf("debug", "info", "warn", "error"),
    "info",
  ),
} as const;

/** The name of a setting, as in the file. */
export type Key = keyof typeof SPECS;

/** All settings with their values. */
export type Settings = {
  readonly [K in Key]: (typeof SPECS)[K] extends Spec<infer T> ? T : never;
};

/** The settings' names. */
export const KEYS = Object.keys(SPECS) as Key[];

/** A setting's flag without the word for its value: `--http-port`. */
export function flagOf(key: Key): string {
  return SPECS[key].flag.split(" ")[0]!;
}

/**
 * The environment variable of a setting: `UNIBUS_HTTP_PORT` for `--http-port`, and for `--no-console`
 * `UNIBUS_CONSOLE`, which is false then.
 */
export function variableOf(key: Key): string {
  const name = flagOf(key).replace(/^--(no-)?/, "");
  return `UNIBUS_${name.replaceAll("-", "_").toUpperCase()}`;
}

/** The file with the keys of our own services. */
export function serviceKeysPath({ serviceKeys, db }: Settings): string {
  return serviceKeys ?? `${dirname(db)}/service-keys.json`;
}
