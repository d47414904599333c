/**
 * Starts and supervises our nats-server.
 *
 * @module
 */

import {
  busAccounts,
  loadServiceKeys,
  localTls,
  type NatsOptions,
  type NatsServerOptions,
  type ServiceKeys,
  type SupervisedNatsServer,
  superviseNatsServer,
  type SupervisorEvent,
} from "../../src/nats/mod.ts";
import { fingerprint } from "../cluster/presence.ts";
import { natsServer } from "../nats_server.ts";
import { lockStore, type StoreLock } from "./lock.ts";
import type { Log } from "../terminal/log.ts";
import { maxFileStore } from "./checks/room.ts";
import { wsPortOf } from "../settings/guards.ts";
import { serviceKeysPath, type Settings } from "../settings/settings.ts";
import type { Undo } from "./undo.ts";

/** Options of the bus. */
export interface BusOptions {
  settings: Settings;
  /** The route secret. */
  clusterPass: string | null;
  /** Whether to log the nats-server's debug output and open its monitoring port. */
  debug: boolean;
  /** Returns the origins of the web pages that may use NATS over WebSocket. */
  origins: (settings: Settings) => readonly string[];
  /** Environment variables, for finding the nats-server program. */
  env: Readonly<Record<string, string | undefined>>;
  signal: AbortSignal;
  log: Log;
  undo: Undo;
}

/** The control plane's credentials on the bus. */
export interface Keys {
  /** The service user. */
  service: Partial<NatsOptions>;
  /** The system user; null if not set. */
  system: Partial<NatsOptions> | null;
  /** Seed of the key that signs user JWTs; null if not set. */
  issuerSeed: string | null;
  /** Fingerprint of the service key file; null without a file. */
  fingerprint: string | null;
}

/** Converts service keys to credentials. */
export function keysOf(keys: ServiceKeys): Keys {
  const { service, system, issuer } = keys;
  return {
    fingerprint: fingerprint(keys),
    service: { nkeySeed: service.seed },
    system: { nkeySeed: system.seed },
    issuerSeed: issuer.seed,
  };
}

/** Servers and TLS options of the connections. */
export type Target = Pick<NatsOptions, "servers" | "tls">;

/** Other settings for the nats-server, such as those of a node of a cluster. */
export type OtherSettings = Pick<BusOptions, "settings" | "clusterPass">;

/** Our own nats-server, and how to connect to it. */
export interface Managed {
  /** The nats-server. */
  server: SupervisedNatsServer;
  /** The control plane's credentials. */
  keys: Keys;
  /** How to connect. */
  target: Target;
  /** Its disk limit in bytes. */
  fileStore: number;
  /**
   * Restarts it with other settings, on the same port for clients; returns its new disk limit.
   *
   * @param to The settings
   * @param commit Notes the change; from then on a start uses the other settings
   * @throws {StoreError} unavailable: it did not start with them, and runs with the former ones
   */
  change(to: OtherSettings, commit: () => Promise<void>): Promise<number>;
}

/** Starts and supervises the nats-server. */
export async function manage(options: BusOptions): Promise<Managed> {
  const { settings, undo } = options;
  const { tlsCert, ca } = settings;
  const { path: binary } = await natsServer({ env: options.env, signal: options.signal });
  const locks = new Map<string, StoreLock>();
  const lock = async ({ natsStore }: Settings) => {
    const known = locks.get(natsStore);
    if (known?.isThere()) return known;
    known?.release();
    const made = await lockStore(natsStore, options);
    locks.set(natsStore, made);
    return made;
  };
  undo.add("lock", async () => {
    for (const it of locks.values()) await it.release();
  });
  await lock(settings);
  const keys = await loadServiceKeys(serviceKeysPath(settings), { create: true });
  const tls = tlsCert === null
    ? null
    : await localTls({ cert: tlsCert, ...ca === null ? {} : { ca } });
  const fileStore = await maxFileStore(settings);
  const optionsOf = (to: OtherSettings, fileStore: number): NatsServerOptions => ({
    ...serverOptions({ ...options, ...to }, keys, fileStore),
    binary,
    onSpawn: (pid) => locks.forEach((it) => it.usedBy(pid)),
  });
  const server = await superviseNatsServer(optionsOf(options, fileStore), {
    onEvent: (event) => tell(options.log, event),
  });
  // It waits for its clients, then at most five seconds for the nats-server to exit.
  undo.add("nats-server", () => server.stop(), 8_000);
  return {
    server,
    keys: keysOf(keys),
    fileStore,
    target: { servers: server.url, ...tls === null ? {} : { tls } },
    async change(to, commit) {
      // After a kill, the next start waits for the one that runs now, which has the same port.
      (await lock(to.settings)).usedBy(server.server.pid);
      const fileStore = await maxFileStore(to.settings);
      await commit();
      await server.change(optionsOf(to, fileStore));
      return fileStore;
    },
  };
}

function serverOptions(
  { settings, clusterPass, debug, origins, signal, log }: BusOptions,
  keys: ServiceKeys,
  fileStore: number,
): NatsServerOptions {
  const { bind, natsPort, natsStore, tlsCert, tlsKey, serverName, busAuth } = settings;
  const tls = tlsCert === null || tlsKey === null ? {} : { tls: { cert: tlsCert, key: tlsKey } };
  const wsPort = wsPortOf(settings);
  return {
    host: bind,
    port: natsPort === 0 ? -1 : natsPort,
    jetstream: { storeDir: natsStore, maxFileStore: fileStore },
    signal,
    ...busAccounts({ mode: busAuth, keys }),
    ...serverName === null ? {} : { serverName },
    ...tls,
    ...wsPort === null ? {} : {
      websocket: { port: wsPort === 0 ? -1 : wsPort, ...tls, origins: origins(settings) },
    },
    ...settings.routes.length === 0 ? {} : { cluster: clusterOf(settings, clusterPass) },
    ...debug ? { monitoringPort: -1, extra: "debug: true", onLog: logOf(log) } : {},
  };
}

function clusterOf(settings: Settings, password: string | null): NatsServerOptions["cluster"] {
  const { clusterName, clusterPort, routes, clusterUser: user } = settings;
  const { routeTlsCert: cert, routeTlsKey: key, routeTlsCa: ca } = settings;
  return {
    name: clusterName!,
    port: clusterPort === 0 ? -1 : clusterPort,
    routes,
    ...user === null || password === null ? {} : { user, password },
    ...cert === null || key === null || ca === null ? {} : { tls: { cert, key, ca, verify: true } },
  };
}

/** Creates a listener that logs the nats-server's output line by line. */
function logOf(log: Log): (text: string) => void {
  let rest = "";
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!.slice(-8192);
    for (const line of lines) if (line.trim() !== "") log("info", "nats.log", { line });
  };
}

function tell(log: Log, event: SupervisorEvent): void {
  const { kind, ...fields } = event;
  const level = kind === "ended" ? "warn" : kind === "start_failed" ? "error" : "info";
  // The first start is part of the announcement.
  log(kind === "started" && event.restarts === 0 ? "debug" : level, `nats.${kind}`, fields);
}
