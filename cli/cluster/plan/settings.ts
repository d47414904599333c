/**
 * The settings of the nodes of a plan, from those of the server that is to become the first of them.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { isLoopback } from "../../../src/core/host/loopback.ts";
import { problemsOf } from "../../settings/guards.ts";
import type { Values } from "../../settings/node.ts";
import { resolve } from "../../settings/resolve.ts";
import type { Settings } from "../../settings/settings.ts";
import { hostPort } from "./nodes.ts";
import type { PlannedNode } from "./types.ts";

/** Settings that are the same on all nodes. */
const SHARED = [
  "httpPort",
  "natsPort",
  "clusterPort",
  "console",
  "authority",
  "busAuth",
  "maxBlobBytes",
  "maxBlobBytesPerUser",
  "diskReserve",
  "natsMaxStore",
  "maxRoomsPerOwner",
  "maxMembersPerRoom",
  "maxEpochsKept",
  "keepInvites",
  "history",
  "historyDays",
  "historyRows",
  "maxBodyMemory",
  "maxConnectionsPerAddress",
] as const;

/** Settings that the first node keeps and others have in places of their own. */
const FIRST = [
  "bind",
  "wsUrl",
  "tlsCert",
  "tlsKey",
  "ca",
  "serviceKeys",
  "storeDir",
  "follower",
] as const;

/** Copies of the control plane. */
const COPIES = 3;

/** The files of a node, relative to the directory of its node file. */
export const FILES = {
  keys: "service-keys.json",
  secret: "cluster/route.secret",
  ca: "cluster/ca.pem",
  routeCert: "cluster/route.pem",
  routeKey: "cluster/route.key",
  cert: "cluster/server.pem",
  key: "cluster/server.key",
} as const;

/** What the settings of nodes are made from. */
export interface Base {
  /** The cluster's name. */
  cluster: string;
  /** The nodes; the first is the one that serves now. */
  nodes: readonly PlannedNode[];
  /** Values that the first node was given. */
  values: Values;
  /** All settings of the first node. */
  settings: Settings;
  /** Whether nodes get certificates for their clients. */
  tls: boolean;
}

/** Whether routes use TLS: the server accepts TLS settings only where it checks signatures. */
export function hasRouteTls({ busAuth }: Pick<Settings, "busAuth">): boolean {
  return busAuth === "enforce";
}

/** Whether a node gets a certificate for its clients: the first one keeps what it has. */
export function getsCertificate({ tls, settings, nodes }: Base, { name }: PlannedNode): boolean {
  return tls && (name !== nodes[0]!.name || settings.tlsCert === null);
}

/** Returns the settings of a node in the cluster; paths are relative to its directory. */
export function settingsFor(base: Base, node: PlannedNode): Values {
  const { cluster, nodes, values, settings } = base;
  const isFirst = node.name === nodes[0]!.name;
  const kept = pick(values, isFirst ? [...SHARED, ...FIRST] : SHARED);
  const everywhere = ["0.0.0.0", "::"].includes(settings.bind);
  // A name that only the first node had would refuse requests to the others.
  const authority = settings.authority.length === 0 || isFirst
    ? {}
    : { authority: [...settings.authority, hostPort(node.address, settings.httpPort)] };
  return {
    ...kept,
    ...authority,
    ...webSocketFor(base, node),
    ...isFirst ? {} : { bind: everywhere ? settings.bind : node.address, storeDir: "blobs" },
    store: "jetstream",
    replicas: COPIES,
    natsStore: isFirst ? `${firstStore(base)}.cluster` : "jetstream.cluster",
    clusterName: cluster,
    serverName: node.name,
    clusterPort: settings.clusterPort,
    routes: nodes.filter((it) => it !== node)
      .map((it) => hostPort(it.address, settings.clusterPort)),
    clusterUser: "route",
    clusterPassFile: FILES.secret,
    ...hasRouteTls(settings)
      ? { routeTlsCert: FILES.routeCert, routeTlsKey: FILES.routeKey, routeTlsCa: FILES.ca }
      : {},
    ...getsCertificate(base, node) ? { tlsCert: FILES.cert, tlsKey: FILES.key, ca: FILES.ca } : {},
  };
}

/** Returns the settings of NATS over WebSocket, if the first node was given any. */
function webSocketFor(base: Base, node: PlannedNode): Values {
  const { nodes, values, settings } = base;
  if (!Object.hasOwn(values, "wsPort")) return {};
  const { wsPort, wsOrigin } = settings;
  if (wsPort === "none") return { wsPort };
  // Without a certificate only a reverse proxy makes it usable, and each node has its own.
  const isUsable = node.name === nodes[0]!.name || hasCertificate(base, node) ||
    isLoopback(node.address);
  if (!isUsable) return { wsPort: "none" };
  // The page of one node connects to another when its own has failed.
  const others = nodes.filter((it) => it !== node).flatMap((it) => {
    const isSecure = hasCertificate(base, it);
    const hosts = isSecure ? [it.address, it.name] : [it.address];
    return hosts.map((host) => originAt(isSecure, host, settings.httpPort));
  });
  return { wsPort, wsOrigin: [...new Set([...wsOrigin, ...others])] };
}

function hasCertificate(base: Base, node: PlannedNode): boolean {
  return getsCertificate(base, node) ||
    (node.name === base.nodes[0]!.name && base.settings.tlsCert !== null);
}

/** Returns the origin of a node's pages. */
export function originAt(isSecure: boolean, host: string, port: number): string {
  return new URL(`${isSecure ? "https" : "http"}://${hostPort(host, port)}`).origin;
}

/** Returns what a node was or may be given as settings of its own while it is alone. */
export function aloneFor(base: Base, node: PlannedNode): Values {
  // As in the service unit of docs/deploy.
  if (node.name !== base.nodes[0]!.name) return { natsStore: "jetstream" };
  return { ...pick(base.values, ["store"]), natsStore: base.settings.natsStore };
}

/** The streams of the first node stand beside its file unless they were given another place. */
function firstStore({ settings, values }: Base): string {
  return Object.hasOwn(values, "natsStore")
    ? settings.natsStore
    : join(dirname(settings.db), "jetstream");
}

/** Returns what the server would refuse in the settings of a node. */
export function refusedIn(name: string, values: Values): string[] {
  const { settings } = resolve({
    flags: {},
    env: {},
    file: { path: `the settings of ${name}`, values },
  });
  return problemsOf(settings).map((it) => `${name}: ${it}`);
}

function pick(values: Values, keys: readonly string[]): Values {
  return Object.fromEntries(
    keys.filter((key) => Object.hasOwn(values, key)).map((key) => [key, values[key]]),
  );
}
