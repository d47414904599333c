/**
 * What must be so before anything listens: a mistake in the settings must not leave a door open.
 *
 * @module
 */

import { isLoopback } from "../../../src/core/host/loopback.ts";
import type { Resolved } from "./resolve.ts";
import { flagOf, type Key, type Settings } from "./settings.ts";

const ROUTE_TLS = ["routeTlsCert", "routeTlsKey", "routeTlsCa"] as const;
const CLUSTER = [
  "clusterName",
  "clusterUser",
  "clusterPass",
  "clusterPassFile",
  ...ROUTE_TLS,
] as const;

/** Whether others reach what we listen on. */
export function isPublic({ bind }: Settings): boolean {
  return !isLoopback(bind);
}

/** Whether our nats-server joins a cluster. */
export function isClustered(settings: Settings): boolean {
  return settings.routes.length > 0 || CLUSTER.some((key) => settings[key] !== null);
}

/** Whether we start a nats-server of our own. */
export function isManaged({ natsUrl }: Settings): boolean {
  return natsUrl.length === 0;
}

/** Whether our listeners speak TLS. */
export function hasTls({ tlsCert }: Settings): boolean {
  return tlsCert !== null;
}

/**
 * Whether the admins' console is served: never to other machines where not every signature is looked at,
 * whatever else the settings say.
 */
export function hasConsole(settings: Settings): boolean {
  return settings.console && (settings.busAuth === "enforce" || !isPublic(settings));
}

/** What is wrong with the settings; each says what to do. None: the server may start. */
export function problemsOf(settings: Settings): string[] {
  return [
    ...authProblems(settings),
    ...clusterProblems(settings),
    ...storeProblems(settings),
    ...natsProblems(settings),
    ...portProblems(settings),
  ];
}

/** What the operator should know about the settings, though the server starts with them. */
export function warningsOf({ settings, sources }: Resolved): string[] {
  return [
    ...sources.clusterPass === "flag" && settings.clusterPass !== null
      ? [
        "--cluster-pass shows the route secret to everybody who lists the processes; use " +
        "--cluster-pass-file or UNIBUS_CLUSTER_PASS",
      ]
      : [],
    ...isPublic(settings) && !hasTls(settings)
      ? [
        `--bind ${settings.bind} without TLS: others on the way read and change what is sent; add ` +
        "--tls-cert and --tls-key, or put a proxy with TLS in front",
      ]
      : [],
    ...isClustered(settings) && settings.store === "sqlite"
      ? [
        "--store sqlite in a cluster: every node has users and rooms of its own; --store jetstream " +
        "shares them",
      ]
      : [],
  ];
}

function authProblems(settings: Settings): string[] {
  const { bind, busAuth, tlsCert, tlsKey } = settings;
  const problems: string[] = [];
  const open = busAuth === "off" ? "everybody who reaches it in" : "everybody in and only logs it";
  if (busAuth !== "enforce" && isPublic(settings)) {
    problems.push(
      `--bind ${bind} is reached from other machines, and --bus-auth ${busAuth} lets ${open}; ` +
        "add --bus-auth enforce, or bind 127.0.0.1",
    );
  }
  const tls = given(settings, ["tlsCert", "tlsKey", ...ROUTE_TLS]);
  if (busAuth !== "enforce" && tls.length > 0) {
    problems.push(
      `${and(tls)} ${tls.length === 1 ? "makes" : "make"} a server for others, and --bus-auth ` +
        `${busAuth} lets ${open}; add --bus-auth enforce, or leave TLS away`,
    );
  }
  if ((tlsCert === null) !== (tlsKey === null)) {
    problems.push(
      `${tlsCert === null ? "--tls-key" : "--tls-cert"} is given without ` +
        `${tlsCert === null ? "--tls-cert" : "--tls-key"}; give both or none`,
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
      `${and(named)} and --nats-url contradict each other: a cluster is of nats-servers that we ` +
      "start; leave one of the two away",
    ];
  }
  const missing = [
    ...settings.serverName === null ? ["--server-name (another on every node)"] : [],
    ...settings.clusterName === null ? ["--cluster-name (the same on every node)"] : [],
    ...routes.length === 0 ? ["--routes (host:port of the other nodes)"] : [],
  ];
  if (missing.length > 0) problems.push(`A cluster (${and(named)}) needs ${and(missing)}`);
  const hasSecret = clusterPass !== null || clusterPassFile !== null;
  if ((clusterUser !== null) !== hasSecret) {
    problems.push(
      "The route secret is --cluster-user with --cluster-pass-file (or UNIBUS_CLUSTER_PASS); " +
        "give both or none",
    );
  }
  const tls = given(settings, ROUTE_TLS);
  if (tls.length > 0 && tls.length < ROUTE_TLS.length) {
    const rest = ROUTE_TLS.filter((key) => settings[key] === null).map(flagOf);
    problems.push(
      `${and(tls)} without ${and(rest)}; nodes show each other certificates: give all three`,
    );
  }
  const bare = [
    // On loopback too: every program of this machine reaches the port for routes.
    ...settings.busAuth === "enforce" && clusterUser === null && !hasSecret
      ? ["a route secret (--cluster-user and --cluster-pass-file)"]
      : [],
    ...isPublic(settings) && tls.length === 0 ? [`mutual TLS (${and(ROUTE_TLS.map(flagOf))})`] : [],
  ];
  if (bare.length > 0) {
    problems.push(
      `A cluster on ${settings.bind} takes routes from ` +
        `${isPublic(settings) ? "other machines" : "every program of this machine"}, and ` +
        `whoever has a route reads everything; add ${and(bare)}`,
    );
  }
  return problems;
}

function storeProblems(settings: Settings): string[] {
  if (settings.store === "jetstream") return [];
  const named = given(settings, ["bucket", "replicas"]);
  if (named.length === 0) return [];
  return [`${and(named)} ${named.length === 1 ? "needs" : "need"} --store jetstream`];
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
      } for a NATS server of your own: add --nats-url`,
    ];
  }
  if (nkeySeedFile !== null && creds !== null) {
    problems.push("--nkey-seed-file and --creds: give one of them");
  }
  if (busAuth === "off" || settings.serviceKeys !== null) return problems;
  const missing = [
    ...nkeySeedFile === null && creds === null ? ["--nkey-seed-file or --creds"] : [],
    ...settings.systemSeedFile === null ? ["--system-seed-file"] : [],
    ...settings.issuerSeedFile === null ? ["--issuer-seed-file"] : [],
  ];
  if (missing.length > 0) {
    problems.push(
      `--bus-auth ${busAuth} on a NATS server of your own needs the keys of its accounts: ` +
        `${
          and(missing)
        }, or all in one --service-keys file; membershipd nats accounts makes it and ` +
        "the server's configuration",
    );
  }
  return problems;
}

function portProblems(settings: Settings): string[] {
  const used: Key[] = [
    "httpPort",
    ...isManaged(settings) ? ["natsPort" as const] : [],
    ...isClustered(settings) ? ["clusterPort" as const] : [],
  ];
  return used.flatMap((key, i) =>
    used.slice(0, i).filter((it) => settings[key] !== 0 && settings[it] === settings[key])
      .map((it) => `${flagOf(it)} and ${flagOf(key)} are both ${settings[key]}; give each its own`)
  );
}

function given(settings: Settings, keys: readonly Key[]): string[] {
  return keys.filter((key) => settings[key] !== null).map(flagOf);
}

function and(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
