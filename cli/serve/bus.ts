/**
 * The server's NATS side: our own or an external nats-server, and our connections to it.
 *
 * @module
 */

import { errors, type NatsConnection } from "@nats-io/transport-node";
import { readFile } from "node:fs/promises";
import { within } from "../../src/core/async/wait.ts";
import type { HealthCheck } from "../../src/core/model.ts";
import {
  loadServiceKeys,
  type NatsOptions,
  type SupervisedNatsServer,
} from "../../src/nats/mod.ts";
import type { NkeyPair } from "../../src/keys/nkey.ts";
import { connectNats, loginKey } from "../../src/nats/connection/connect.ts";
import { isManaged } from "../settings/guards.ts";
import type { Log } from "../terminal/log.ts";
import {
  type BusOptions,
  type Keys,
  keysOf,
  manage,
  type OtherSettings,
  type Target,
} from "./managed.ts";
import type { Settings } from "../settings/settings.ts";

/** The connected bus. */
export interface Bus {
  /** The URL for clients. */
  url: string;
  /** The port of our own nats-server for WebSocket clients; null if it has none. */
  readonly wsPort: number | null;
  /** The monitoring URL of our own nats-server, if enabled. */
  monitoringUrl?: string;
  /** The service user's connection. */
  connection: NatsConnection;
  /** The system user's connection; null with `off` or without its key. */
  system: NatsConnection | null;
  /** Seed of the key that signs user JWTs; null if not set. */
  issuerSeed: string | null;
  /** The key we log in with; null without one. */
  serviceKey: NkeyPair | null;
  /** Name of our own nats-server; null if it is external. */
  node: string | null;
  /** Fingerprint of the service keys; null without a service key file. */
  fingerprint: string | null;
  /** Disk limit of our own nats-server in bytes; `Infinity` if it is external. */
  fileStore: number;
  /** Checks that the bus works. */
  check(): Promise<HealthCheck>;
  /** Returns the number of restarts of our own nats-server. */
  restarts(): number;
  /**
   * Restarts our own nats-server with other settings, on the same port for clients; null if it is
   * external. See {@link Managed.change}.
   */
  change: ((to: OtherSettings, commit: () => Promise<void>) => Promise<void>) | null;
}

/** Milliseconds between two attempts to reconnect to our own nats-server. */
const OWN_MS = 20;
/** Interval in milliseconds at which waiting for the NATS server is logged. */
const WAITING_MS = 5_000;

/** Starts our own nats-server, if it is not external, and connects. */
export async function startBus(options: BusOptions): Promise<Bus> {
  const { settings, signal, undo, log } = options;
  const own = isManaged(settings) ? await manage(options) : null;
  const { server, keys, target, fileStore } = own ??
    { server: null, fileStore: Infinity, ...await external(settings) };
  const connect = async (name: string, user: Partial<NatsOptions>) => {
    const connection = await connectNats({
      ...target,
      ...user,
      name: `membershipd ${name}`,
      bootstrapTimeout: 30_000,
      retryRefused: true,
      // Clients that reconnect before the callout wait until the server gives up on it.
      ...server === null ? {} : { reconnectWait: OWN_MS },
      signal,
      onProblem: (error) => log("error", "nats.false_server", { connection: name, reason: error }),
    });
    const told = tellOf(connection, name, log);
    undo.add(`the ${name} connection`, () => {
      told.end();
      return drain(connection);
    });
    return connection;
  };
  const [first = ""] = [target.servers].flat();
  log("debug", "nats.connecting", { url: first });
  const waiting = setInterval(() => log("info", "nats.waiting", { url: first }), WAITING_MS);
  const [connection, system] = await Promise.all([
    connect("service", keys.service),
    settings.busAuth === "off" || keys.system === null ? null : connect("system", keys.system),
  ]).finally(() => clearInterval(waiting));
  const { monitoringUrl } = server?.server ?? {};
  const bus: Bus = {
    url: settings.tlsCert !== null ? first.replace(/^nats:/, "tls:") : first,
    get wsPort() {
      return server?.server.websocketPort ?? null;
    },
    ...(monitoringUrl === undefined ? {} : { monitoringUrl }),
    connection,
    system,
    fileStore,
    issuerSeed: keys.issuerSeed,
    serviceKey: loginKey(keys.service),
    // The nats-server has another name in a cluster.
    get node() {
      return server === null ? null : connection.info?.server_name ?? null;
    },
    fingerprint: keys.fingerprint,
    check: () => check(server, connection),
    restarts: () => server?.status().restarts ?? 0,
    change: own && (async (to, commit) => {
      bus.fileStore = await own.change(to, commit);
    }),
  };
  return bus;
}

async function external(settings: Settings): Promise<{ keys: Keys; target: Target }> {
  const { natsUrl, ca, serviceKeys, nkeySeedFile, creds } = settings;
  const demandsTls = ca !== null || natsUrl.some((it) => it.startsWith("tls:"));
  const target = {
    servers: [...natsUrl],
    ...demandsTls ? { tls: ca === null ? {} : { caFile: ca } } : {},
  };
  const text = async (path: string) => (await readFile(path, "utf8")).trim();
  const keys = serviceKeys === null ? null : keysOf(await loadServiceKeys(serviceKeys));
  const { systemSeedFile, issuerSeedFile } = settings;
  return {
    target,
    keys: {
      service: nkeySeedFile !== null
        ? { nkeySeed: await text(nkeySeedFile) }
        : creds !== null
        ? { credentials: await text(creds) }
        : keys?.service ?? {},
      system: systemSeedFile !== null
        ? { nkeySeed: await text(systemSeedFile) }
        : keys?.system ?? null,
      issuerSeed: issuerSeedFile !== null ? await text(issuerSeedFile) : keys?.issuerSeed ?? null,
      fingerprint: keys?.fingerprint ?? null,
    },
  };
}

/** Flushes and closes a connection, with a time limit in case the server is gone. */
async function drain(connection: NatsConnection): Promise<void> {
  if (connection.isClosed()) return;
  await within(1_000, connection.drain(), () => {}).catch(() => {});
  if (!connection.isClosed()) await connection.close();
}

/** Logs status changes of a connection until we close it. */
function tellOf(connection: NatsConnection, name: string, log: Log): { end: () => void } {
  let ended = false;
  // Each reconnect attempt is reported as another disconnect and reconnect.
  let lost = false;
  let refused = false;
  (async () => {
    for await (const status of connection.status()) {
      if (ended) return;
      if (status.type === "disconnect" && !lost) {
        lost = true;
        log("warn", "nats.disconnected", { connection: name });
      } else if (status.type === "reconnect" && lost) {
        lost = refused = false;
        log("info", "nats.reconnected", { connection: name });
      } else if (
        status.type === "error" && status.error instanceof errors.AuthorizationError && !refused
      ) {
        refused = true;
        const hint = "retrying until the server accepts the keys";
        log("error", "nats.refused", { connection: name, reason: status.error, hint });
      }
    }
  })().catch(() => {});
  connection.closed().then((error) => {
    if (!ended) log("error", "nats.closed", { connection: name, reason: error ?? "closed" });
  });
  return { end: () => void (ended = true) };
}

/** Timeout in milliseconds of a ping on our connection. */
const PATIENCE_MS = 1_000;

async function check(
  server: SupervisedNatsServer | null,
  connection: NatsConnection,
): Promise<HealthCheck> {
  const name = "nats";
  const status = server?.status();
  if (status?.ok === false) return { name, ok: false, detail: status.detail };
  try {
    const rtt = await within(PATIENCE_MS, connection.rtt(), () => null);
    if (rtt === null) return { name, ok: false, detail: `No answer within ${PATIENCE_MS} ms` };
    return { name, ok: true, detail: status?.detail ?? "connected" };
  } catch {
    return { name, ok: false, detail: "Not connected" };
  }
}
