/**
 * The server's side of NATS: the nats-server we start, or one of the operator's, and our connections.
 *
 * @module
 */

import { errors, type NatsConnection } from "@nats-io/transport-node";
import { readFile } from "node:fs/promises";
import { within } from "../../src/core/async/wait.ts";
import type { ReadinessCheck } from "../../src/http/options.ts";
import {
  loadServiceKeys,
  type NatsOptions,
  type SupervisedNatsServer,
} from "../../src/nats/mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { isManaged } from "./settings/guards.ts";
import type { Log } from "./log/log.ts";
import { type BusOptions, type Keys, keysOf, manage, type Target } from "./managed.ts";
import type { Settings } from "./settings/settings.ts";

/** The bus, reached. */
export interface Bus {
  /** What clients connect to. */
  url: string;
  /** Our nats-server's monitoring port, where it has one. */
  monitoringUrl?: string;
  /** The service user's connection. */
  connection: NatsConnection;
  /** The system user's connection, where the bus looks at who connects. */
  system: NatsConnection | null;
  /** Seed of the key that signs admissions, where the bus looks at who connects. */
  issuerSeed: string | null;
  /** The nats-server that is ours; null where it is somebody else's. */
  node: string | null;
  /** Fingerprint of our service keys, null without a file of them. */
  fingerprint: string | null;
  /** The most bytes that our nats-server keeps; `Infinity` where it is not ours. */
  fileStore: number;
  /** Whether it works. */
  check(): Promise<ReadinessCheck>;
  /** How often our nats-server was started again. */
  restarts(): number;
}

/** How often a wait for the NATS server is told, milliseconds. */
const WAITING_MS = 5_000;

/** Starts the nats-server where it is ours, and connects. */
export async function startBus(options: BusOptions): Promise<Bus> {
  const { settings, signal, undo, log } = options;
  const { server, keys, target, fileStore } = isManaged(settings)
    ? await manage(options)
    : { server: null, fileStore: Infinity, ...await external(settings) };
  const connect = async (name: string, user: Partial<NatsOptions>) => {
    const connection = await connectNats({
      ...target,
      ...user,
      name: `membershipd ${name}`,
      bootstrapTimeout: 30_000,
      retryRefused: true,
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
  return {
    url: settings.tlsCert !== null ? first.replace(/^nats:/, "tls:") : first,
    ...(monitoringUrl === undefined ? {} : { monitoringUrl }),
    connection,
    system,
    fileStore,
    issuerSeed: keys.issuerSeed,
    node: server === null ? null : connection.info?.server_name ?? null,
    fingerprint: keys.fingerprint,
    check: () => check(server, connection),
    restarts: () => server?.status().restarts ?? 0,
  };
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

/** Sends what waits to be sent, and closes; a server that has gone must not keep us. */
async function drain(connection: NatsConnection): Promise<void> {
  if (connection.isClosed()) return;
  await within(1_000, connection.drain(), () => {}).catch(() => {});
  if (!connection.isClosed()) await connection.close();
}

/** Tells what becomes of a connection, until we end it ourselves. */
function tellOf(connection: NatsConnection, name: string, log: Log): { end: () => void } {
  let ended = false;
  // Each try to come back is told as another loss, and each of those as another return.
  let lost = false;
  let refused = false;
  (async () => {
    for await (const it of connection.status()) {
      if (ended) return;
      if (it.type === "disconnect" && !lost) {
        lost = true;
        log("warn", "nats.disconnected", { connection: name });
      } else if (it.type === "reconnect" && lost) {
        lost = refused = false;
        log("info", "nats.reconnected", { connection: name });
      } else if (it.type === "error" && it.error instanceof errors.AuthorizationError && !refused) {
        refused = true;
        const hint = "it is tried again until the server takes our keys";
        log("error", "nats.refused", { connection: name, reason: it.error, hint });
      }
    }
  })().catch(() => {});
  connection.closed().then((error) => {
    if (!ended) log("error", "nats.closed", { connection: name, reason: error ?? "closed" });
  });
  return { end: () => void (ended = true) };
}

/** How long our own connection may take to answer, milliseconds. */
const PATIENCE_MS = 1_000;

async function check(
  server: SupervisedNatsServer | null,
  connection: NatsConnection,
): Promise<ReadinessCheck> {
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
