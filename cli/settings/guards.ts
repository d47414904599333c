/**
 * Checks the settings before anything listens, so that a mistake does not leave the server open.
 *
 * @module
 */

import { isLoopback } from "../../src/core/host/loopback.ts";
import type { Resolved } from "./resolve.ts";
import { flagOf, followerPath, type Key, type Settings, SPECS } from "./settings.ts";
import { stat } from "node:fs/promises";
import process from "node:process";

const ROUTE_TLS = ["routeTlsCert", "routeTlsKey", "routeTlsCa"] as const;
const CLUSTER = [
  "clusterName",
  "clusterUser",
  "clusterPass",
  "clusterPassFile",
  ...ROUTE_TLS,
] as const;

/** Reports whether the listeners are reachable from other machines. */
export function isPublic({ bind }: Settings): boolean {
  return !isLoopback(bind);
}

/** Reports whether our nats-server joins a cluster. */
export function isClustered(settings: Settings): boolean {
  return settings.routes.length > 0 || CLUSTER.some((key) => settings[key] !== null);
}

/** Reports whether membershipd starts its own nats-server. */
export function isManaged({ natsUrl }: Settings): boolean {
  return natsUrl.length === 0;
}

/** The port of NATS over WebSocket where it is on by default. */
const WS_PORT = 4252;

/** Returns the port on which our nats-server listens for WebSocket clients; null if it does not. */
export function wsPortOf(settings: Settings): number | null {
  const { wsPort, natsPort } = settings;
  if (!isManaged(settings) || wsPort === "none") return null;
  // With another NATS port, this may be one of several servers on the machine.
  const isUsual = !isPublic(settings) && natsPort === SPECS.natsPort.fallback;
  return wsPort ?? (isUsual ? WS_PORT : null);
}

/** Reports whether the listeners use TLS. */
export function hasTls({ tlsCert }: Settings): boolean {
  return tlsCert !== null;
}

/**
 * Reports whether the admin console is served: never to other machines unless every signature is
 * verified.
 */
export function hasConsole(settings: Settings): boolean {
  return settings.console && (settings.busAuth === "enforce" || !isPublic(settings));
}

/**
 * Returns the errors in the settings, with what to do; the server starts only if there are none.
 */
export function problemsOf(settings: Settings): string[] {
  return [
    ...authProblems(settings),
    ...clusterProblems(settings),
    ...storeProblems(settings),
    ...natsProblems(settings),
    ...wsProblems(settings),
    ...portProblems(settings),
  ];
}

/** Returns warnings about settings with which the server nevertheless starts. */
export function warningsOf({ settings, sources, node }: Resolved): string[] {
  return [
    ...sources.clusterPass === "flag" && settings.clusterPass !== null
      ? [
        "--cluster-pass exposes the route secret in the list of processes; use --cluster-pass-file " +
        "or UNIBUS_CLUSTER_PASS",
      ]
      : [],
    ...isPublic(settings) && !hasTls(settings)
      ? [
        `--bind ${settings.bind} without TLS: traffic can be read and changed on the network; add ` +
        "--tls-cert and --tls-key, or use a reverse proxy with TLS",
      ]
      : [],
    // A node that was planned serves its file until it has moved into the cluster.
    ...isClustered(settings) && settings.store === "sqlite" && node?.state !== "clustered"
      ? [
        "--store sqlite in a cluster: each node has its own users and rooms; use --store jetstream " +
        "to share them",
      ]
      : [],
  ];
}

function authProblems(settings: Settings): string[] {
  const { bind, busAuth, tlsCert, tlsKey } = settings;
  const problems: string[] = [];
  const open = busAuth === "off" ? "admits every client" : "admits and only logs every client";
  if (busAuth !== "enforce" && isPublic(settings)) {
    problems.push(
      `--bind ${bind} is reachable from other machines, and --bus-auth ${busAuth} ${open}; ` +
        "add --bus-auth enforce, or bind 127.0.0.1",
    );
  }
  const tls = given(settings, ["tlsCert", "tlsKey", ...ROUTE_TLS]);
  if (busAuth !== "enforce" && tls.length > 0) {
    problems.push(
      `${and(tls)} ${tls.length === 1 ? "is" : "are"} for a public server, and --bus-auth ` +
        `${busAuth} ${open}; add --bus-auth enforce, or remove the TLS flags`,
    );
  }
  if ((tlsCert === null) !== (tlsKey === null)) {
    problems.push(
      `${tlsCert === null ? "--tls-key" : "--tls-cert"} is set without ` +
        `${tlsCert === null ? "--tls-cert" : "--tls-key"}; set both or neither`,
    );
  }
  return problems;
}

function clusterProblems(settings: Settings): string[] {
  if (!isClustered(settings)) return [];
  const { clusterUser, clusterPass, clusterPassFile, routes } = settings;
  const problems: string[] = [];
  const named = [...given(settings, CLUSTER), ...routes.length > 0 ? ["--routes"] : []];
  if (!isManaged(settings)) {
    return [
      `${
        and(named)
      } and --nats-url cannot be used together: membershipd only clusters nats-servers ` +
      "that it starts; remove one of the two",
    ];
  }
  const missing = [
    ...settings.serverName === null ? ["--server-name (unique on every node)"] : [],
    ...settings.clusterName === null ? ["--cluster-name (the same on every node)"] : [],
    ...routes.length === 0 ? ["--routes (host:port of the other nodes)"] : [],
  ];
  if (missing.length > 0) problems.push(`A cluster (${and(named)}) requires ${and(missing)}`);
  const hasSecret = clusterPass !== null || clusterPassFile !== null;
  if ((clusterUser !== null) !== hasSecret) {
    problems.push(
      "The route secret consists of --cluster-user and --cluster-pass-file (or " +
        "UNIBUS_CLUSTER_PASS); set both or neither",
    );
  }
  const tls = given(settings, ROUTE_TLS);
  if (tls.length > 0 && tls.length < ROUTE_TLS.length) {
    const rest = ROUTE_TLS.filter((key) => settings[key] === null).map(flagOf);
    problems.push(
      `${and(tls)} without ${and(rest)}; routes use mutual TLS: set all three`,
    );
  }
  const bare = [
    // On loopback too: every program on this machine can reach the cluster port.
    ...settings.busAuth === "enforce" && clusterUser === null && !hasSecret
      ? ["a route secret (--cluster-user and --cluster-pass-file)"]
      : [],
    ...isPublic(settings) && tls.length === 0 ? [`mutual TLS (${and(ROUTE_TLS.map(flagOf))})`] : [],
  ];
  if (bare.length > 0) {
    problems.push(
      `A cluster on ${settings.bind} accepts routes from ` +
        `${isPublic(settings) ? "other machines" : "every program on this machine"}, and ` +
        `a route can read everything; add ${and(bare)}`,
    );
  }
  return problems;
}

function storeProblems(settings: Settings): string[] {
  if (settings.store === "jetstream") return [];
  const named = given(settings, ["bucket", "replicas"]);
  if (named.length === 0) return [];
  return [`${and(named)} ${named.length === 1 ? "requires" : "require"} --store jetstream`];
}

function natsProblems(settings: Settings): string[] {
  const { busAuth, nkeySeedFile, creds } = settings;
  const problems: string[] = [];
  const keys = ["nkeySeedFile", "creds", "systemSeedFile", "issuerSeedFile"] as const;
  if (isManaged(settings)) {
    const named = given(settings, keys);
    if (named.length === 0) return [];
    return [
      `${and(named)} ${
        named.length === 1 ? "is" : "are"
      } for an external NATS server: add --nats-url`,
    ];
  }
  if (nkeySeedFile !== null && creds !== null) {
    problems.push("--nkey-seed-file and --creds cannot be used together; use only one of them");
  }
  if (busAuth === "off" || settings.serviceKeys !== null) return problems;
  const missing = [
    ...nkeySeedFile === null && creds === null ? ["--nkey-seed-file or --creds"] : [],
    ...settings.systemSeedFile === null ? ["--system-seed-file"] : [],
    ...settings.issuerSeedFile === null ? ["--issuer-seed-file"] : [],
  ];
  if (missing.length > 0) {
    problems.push(
      `--bus-auth ${busAuth} on an external NATS server requires the keys of its accounts: ` +
        `${
          and(missing)
        }, or a --service-keys file with all of them; run membershipd nats accounts ` +
        "to create the file and the server's configuration",
    );
  }
  return problems;
}

function wsProblems(settings: Settings): string[] {
  const { bind, wsPort, wsUrl, wsOrigin } = settings;
  if (wsPort !== null && !isManaged(settings)) {
    return [
      "--ws-port is for the NATS server that membershipd starts, and cannot be used with --nats-url; " +
      "name the WebSocket listener of that server with --ws-url",
    ];
  }
  const port = wsPortOf(settings);
  if (port === null) {
    const named = [
      ...wsUrl.length > 0 && isManaged(settings) ? ["--ws-url"] : [],
      ...wsOrigin.length > 0 ? ["--ws-origin"] : [],
    ];
    if (named.length === 0) return [];
    return [
      isManaged(settings)
        ? `${and(named)} ${named.length === 1 ? "requires" : "require"} --ws-port`
        : "--ws-origin is for the NATS server that membershipd starts; set allowed_origins in the " +
          "configuration of that of --nats-url",
    ];
  }
  if (isPublic(settings) && !hasTls(settings) && !wsUrl.some((it) => it.startsWith("wss:"))) {
    return [
      `--ws-port ${port} on ${bind} without TLS: browsers refuse such connections from a page that ` +
      "was loaded over TLS, and others can read them; add --tls-cert and --tls-key, or name the reverse " +
      "proxy that has TLS with --ws-url wss://…",
    ];
  }
  return [];
}

function portProblems(settings: Settings): string[] {
  const used: [flag: string, port: number | null][] = [
    ["--http-port", settings.httpPort],
    ["--nats-port", isManaged(settings) ? settings.natsPort : null],
    ["--cluster-port", isClustered(settings) ? settings.clusterPort : null],
    ["--ws-port", wsPortOf(settings)],
  ];
  // 0 is any free port.
  return used.flatMap(([flag, port], i) =>
    used.slice(0, i).filter(([, it]) => Boolean(port) && it === port)
      .map(([other]) => `${other} and ${flag} are both ${port}; use different ports`)
  );
}

function given(settings: Settings, keys: readonly Key[]): string[] {
  return keys.filter((key) => settings[key] !== null).map(flagOf);
}

function and(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/**
 * Returns problems with the permissions of the database: anyone who can write it can create admins,
 * in a follower by a repair or a promotion.
 */
export async function databaseProblems(settings: Settings): Promise<string[]> {
  const key = settings.store === "sqlite" ? "db" : "follower";
  const file = key === "db" ? settings.db : followerPath(settings);
  if (file === null || process.platform === "win32") return [];
  // The -wal file contains changes too. Missing files are created, or reported when they are
  // opened.
  const paths = [file, `${file}-wal`, `${file}-shm`];
  const modes = await Promise.all(paths.map((it) => stat(it).then(({ mode }) => mode, () => 0)));
  return paths.flatMap((path, i) => {
    if ((modes[i]! & 0o022) === 0) return [];
    const found = (modes[i]! & 0o777).toString(8).padStart(4, "0");
    return [
      `${
        flagOf(key)
      } ${path} has mode ${found}, so other users of this machine can make themselves ` +
      `admins; chmod go-w ${path}, and check membershipd user list`,
    ];
  });
}
