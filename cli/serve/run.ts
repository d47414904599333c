/**
 * Runs the server: checks, start, operation, graceful stop.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../src/core/errors.ts";
import type { Journey } from "../../src/core/operations.ts";
import type { NodeList } from "../cluster/nodes.ts";
import type { Context } from "../command.ts";
import { UsageError } from "../terminal/failure.ts";
import { knowsAdmin } from "./admin.ts";
import { announce, missingOf, type Places } from "./log/announce.ts";
import { originsOf } from "./authorities.ts";
import { forgottenBlobs, type NextStep, nextStep } from "./checks/beside.ts";
import { inspect } from "./certificates.ts";
import {
  databaseProblems,
  isClustered,
  isManaged,
  problemsOf,
  warningsOf,
  wsPortOf,
} from "../settings/guards.ts";
import { createLog } from "../terminal/log.ts";
import type { Bus } from "./bus.ts";
import type { BusOptions } from "./managed.ts";
import { Page } from "./node/page.ts";
import { presentOn, type Shown } from "./node/present.ts";
import { arriveHome } from "./journey/start/arrive.ts";
import { Control } from "./journey/control.ts";
import { reportOf } from "./journey/report.ts";
import { isFrozen, settleHere } from "./journey/start/settle.ts";
import { type Opened, OPENING, serveAsNode } from "./node/serving.ts";
import { startCallout, startHttp, type Surroundings } from "./parts.ts";
import { preflight, type StartOptions } from "./checks/preflight.ts";
import { type Given, resolveHere } from "../settings/resolve.ts";
import type { NodeState } from "../settings/node.ts";
import { routeSecret } from "../settings/secret.ts";
import { serviceKeysPath, type Settings } from "../settings/settings.ts";
import { placed } from "../store/placed.ts";
import { startSigning } from "./history/sign.ts";
import { openLocal, openReplicated } from "./storage/storage.ts";
import type { Storage } from "./storage/types.ts";
import { Undo } from "./undo.ts";
import { startUpkeep } from "./upkeep.ts";

/** Time limit for stopping what is served, in milliseconds. */
const STOP_MS = 20_000;

/**
 * Runs the server until the signal is aborted.
 *
 * @param context The environment of the command
 * @param given Flags, environment variables and file
 * @param options Options of the start
 * @throws {UsageError} The settings are insecure or conflict with each other
 */
export async function runServer(
  { io }: Context,
  given: Given,
  options: StartOptions,
): Promise<void> {
  const { natsOnly, isNew } = options;
  const began = performance.now();
  const here = await resolveHere(given);
  const resolved = await placed(here);
  const { settings } = resolved;
  const node = resolved.node?.state === "clustered" ? resolved.node : null;
  const found = await inspect(settings);
  const clusterPass = await routeSecret(resolved, given.file);
  const problems = [
    ...problemsOf(settings),
    ...found.problems,
    ...await databaseProblems(settings),
  ];
  const wsPort = wsPortOf(settings);
  if (wsPort !== null && originsOf(settings, found.names, settings.httpPort).length === 0) {
    problems.push(
      `--ws-port ${wsPort}: the names of this server are unknown, so every web page could use it; set ` +
        "--authority, --public-url or --ws-origin",
    );
  }
  if (natsOnly && !isManaged(settings)) {
    problems.push("--nats-only and --nats-url cannot be used together; remove one of the two");
  }
  if (isNew && node !== null) {
    problems.push(
      `--new begins an empty store, but this machine is node ${node.name} of cluster ` +
        `${node.cluster} and serves the one of that cluster; remove --new, or use another --db`,
    );
  }
  if (problems.length > 0) throw new UsageError(problems.join("\nerror: "));

  let written: unknown;
  const write = (text: string) => void (written = io.stderr.write(`${text}\n`));
  // The nats-server uses it in URLs.
  const secrets = hiddenIn(clusterPass);
  const { logFormat: format, logLevel: level } = settings;
  const log = createLog({ format, level, secrets, write });
  for (const warning of warningsOf(resolved)) log("warn", "settings", { warning });
  for (const warning of found.warnings) log("warn", "certificate", { warning });

  const failed = new AbortController();
  const signal = AbortSignal.any([io.signal, failed.signal]);
  const undo = new Undo();
  const page = new Page({ settings, found });
  const around: Surroundings = { settings, found, signal, log, undo, page };
  const debug = !["", "0", "false", undefined].includes(io.env.UNIBUS_NATS_DEBUG);
  const missing = missingOf(settings);
  try {
    const busOptions = {
      settings,
      clusterPass,
      debug,
      env: io.env,
      origins: (it: Settings) => originsOf(it, found.names, page.port),
      signal,
      log,
      undo,
    };
    await preflight(busOptions, options, missing);
    undo.add("page", () => page.close());
    // The origin of its pages has the port, and the nats-server must know it.
    if (wsPort !== null && !natsOnly) await page.fix(OPENING);
    const { bus, local } = await begin(around, busOptions, failed, {
      natsOnly,
      bucket: here.settings.bucket ?? "UNIBUS",
    });
    const settingsIn = async (state: NodeState) => {
      const to = await resolveHere(given, state);
      const clusterPass = await routeSecret(to, given.file);
      secrets.push(...hiddenIn(clusterPass));
      return { settings: to.settings, clusterPass };
    };
    if (isClustered(settings) && missing.includes(serviceKeysPath(settings))) {
      const warning =
        `${serviceKeysPath(settings)} was created; copy the file of one node to all nodes of the ` +
        "cluster, so that every node can admit clients";
      log("warn", "settings", { warning });
    }
    if (local === null && node === null && !natsOnly && settings.store === "sqlite") {
      throw new StoreError("refused", `The control plane of ${settings.db} has moved to a bucket`, {
        hint: "start with --store jetstream",
      });
    }
    const say = format === "text" ? write : null;
    const present = presentOn(bus, resolved, options.restart);
    const tell = (started: Started) => {
      const took = performance.now() - began;
      announce({ settings, missing, took, ...started }, log, say);
    };
    if (natsOnly) tell(await serveNats(around, bus, present));
    else if (isManaged(settings) && (local !== null || node !== null)) {
      const control = new Control(bus, settings.db, settingsIn, page);
      const serve = async (around: Surroundings, storage: Storage) => {
        control.serve(around, storage);
        tell(await serveStore(around, bus, storage, present, () => reportOf(control.status())));
      };
      const open = (around: Surroundings, early: boolean) =>
        openReplicated(around, bus, { isNew, create: false, early });
      const arrive = (around: Surroundings, name: string) => arriveHome(around, bus, name);
      await serveAsNode({ around, bus, present, first: local, open, arrive, serve });
    } else {
      if (local === null) await page.show(OPENING);
      const storage = local?.storage ??
        await openReplicated(around, bus, { isNew, create: true });
      tell(await serveStore(around, bus, storage, present));
    }
    await aborted(io.signal);
    log("info", "stopping", { reason: io.signal.reason });
  } catch (error) {
    if (!io.signal.aborted) throw refusal(error, settings);
    // A stop before the server is ready is not a failure.
    log("info", "stopping", { reason: io.signal.reason });
  } finally {
    failed.abort();
    await undo.end(log);
    if (io.signal.aborted) log("info", "stopped");
    await written;
  }
}

function hiddenIn(clusterPass: string | null): string[] {
  return clusterPass === null ? [] : [clusterPass, encodeURIComponent(clusterPass)];
}

interface Started {
  places: Places;
  hasAdmin: boolean | null;
  next: NextStep | null;
}

/** Starts the bus, and opens the local store meanwhile; null where there is none. */
async function begin(
  around: Surroundings,
  options: BusOptions,
  failed: AbortController,
  { natsOnly, bucket }: { natsOnly: boolean; bucket: string },
): Promise<{ bus: Bus; local: Opened | null }> {
  const { settings, log } = around;
  const hasLocal = !natsOnly && settings.store === "sqlite";
  // Only its bucket says where its control plane is.
  const isOpen = hasLocal && isFrozen(settings.db);
  const undo = new Undo();
  const open = () => openLocal({ ...around, undo });
  try {
    const [bus, storage] = await together(
      failed,
      import("./bus.ts").then(({ startBus }) => startBus(options)),
      // Opened and loaded while the nats-server starts.
      hasLocal && !isOpen ? open() : null,
      natsOnly ? null : around.page.show(hasLocal ? OPENING : "connecting to NATS"),
    );
    if (!isOpen) return { bus, local: storage && { storage, undo } };
    const isHere = await settleHere(around, bus, bucket);
    return { bus, local: isHere ? { storage: await open(), undo } : null };
  } finally {
    around.undo.add("what is served", () => undo.end(log), STOP_MS);
  }
}

function placesOf({ found }: Surroundings, { url, wsPort, monitoringUrl }: Bus): Places {
  const nats = named(url, found.names);
  const scheme = found.names === null ? "ws" : "wss";
  return {
    nats,
    ...wsPort === null ? {} : { ws: nats.replace(/^\w+(:.*):\d+$/, `${scheme}$1:${wsPort}`) },
    ...monitoringUrl === undefined ? {} : { monitoring: monitoringUrl },
  };
}

async function serveNats(
  around: Surroundings,
  bus: Bus,
  present: (shown: Shown) => void,
): Promise<Started> {
  present({ bucket: null, follower: null, waiting: null });
  const next = await nextStep(around.settings, bus.connection, around.signal);
  return { places: placesOf(around, bus), hasAdmin: null, next };
}

async function serveStore(
  around: Surroundings,
  bus: Bus,
  storage: Storage,
  present: (shown: Shown) => void,
  journey: () => Journey | null = () => null,
): Promise<Started> {
  around.signal.throwIfAborted();
  startUpkeep(around, storage.store);
  startSigning(around, bus, storage.store);
  const known = Promise.withResolvers<NodeList>();
  const callout = await startCallout(around, bus, storage.store, known.promise);
  around.signal.throwIfAborted();
  const { url, announced, nodes } = await startHttp(around, bus, storage, callout, journey);
  known.resolve(nodes);
  const http = named(url, around.found.names);
  present({
    ...announced,
    get bucket() {
      return storage.bucket;
    },
    get follower() {
      return storage.follower;
    },
    waiting: null,
  });
  const forgotten = await forgottenBlobs(around.settings, bus.connection, around.signal);
  if (forgotten !== null) {
    around.log("warn", "blobs.forgotten", {
      message: "The blobs were not moved with the store and cannot be read",
      hint: `run ${forgotten}, with the flags for the NATS server`,
    });
  }
  const hasAdmin = await knowsAdmin(storage.store);
  return { places: { http, ...placesOf(around, bus) }, hasAdmin, next: null };
}

/** Replaces a URL's host by a name in the certificate, which clients verify. */
function named(url: string, names: readonly string[] | null): string {
  const name = names?.find((it) => !it.includes("*"));
  return name === undefined ? url : url.replace(/\/\/(\[.*?\]|[^:/]+)/, `//${name}`);
}

/** Waits for all; if one fails, aborts the others, waits for them, and throws the first error. */
async function together<T extends unknown[]>(
  failed: AbortController,
  ...work: { [K in keyof T]: T[K] | Promise<T[K]> }
): Promise<T> {
  const settled = await Promise.allSettled(work.map(async (part) => {
    try {
      return await part;
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  }));
  if (settled.some((it) => it.status === "rejected")) throw failed.signal.reason;
  return settled.map((it) => (it as PromiseFulfilledResult<unknown>).value) as T;
}

/** Adds what to do to the error of a start. */
function refusal(error: unknown, settings: Settings): unknown {
  if (!isStoreError(error, "in_progress")) return error;
  const how = isManaged(settings)
    ? "; `membershipd serve --nats-only` with the same settings runs the nats-server for it"
    : "";
  return new UsageError(`${error.message}${how}`, { cause: error });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
