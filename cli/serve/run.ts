/**
 * Runs the server: checks, start, operation, graceful stop.
 *
 * @module
 */

import { isStoreError } from "../../src/core/errors.ts";
import type { Follower } from "../../src/follower/types.ts";
import { answerPresence } from "../cluster/presence.ts";
import type { Context } from "../command.ts";
import { UsageError } from "../terminal/failure.ts";
import { knowsAdmin } from "./admin.ts";
import { announce, missingOf, type Places } from "./log/announce.ts";
import { forgottenBlobs, type NextStep, nextStep } from "./checks/beside.ts";
import { presenceOf } from "./follower.ts";
import { inspect } from "./certificates.ts";
import { databaseProblems } from "./checks/database.ts";
import { isClustered, isManaged, problemsOf, warningsOf } from "../settings/guards.ts";
import { createLog } from "../terminal/log.ts";
import type { BusOptions } from "./managed.ts";
import { openLocal, openReplicated, startCallout, startHttp, type Surroundings } from "./parts.ts";
import { preflight, type StartOptions } from "./checks/preflight.ts";
import { type Given, resolve } from "../settings/resolve.ts";
import { routeSecret } from "../settings/secret.ts";
import { serviceKeysPath, type Settings } from "../settings/settings.ts";
import { Undo } from "./undo.ts";
import { startUpkeep } from "./upkeep.ts";

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
  const { natsOnly } = options;
  const began = performance.now();
  const resolved = resolve(given);
  const { settings } = resolved;
  const found = await inspect(settings);
  const clusterPass = await routeSecret(resolved, given.file);
  const problems = [
    ...problemsOf(settings),
    ...found.problems,
    ...await databaseProblems(settings),
  ];
  if (natsOnly && !isManaged(settings)) {
    problems.push("--nats-only and --nats-url cannot be used together; remove one of the two");
  }
  if (problems.length > 0) throw new UsageError(problems.join("\nerror: "));

  let written: unknown;
  const write = (text: string) => void (written = io.stderr.write(`${text}\n`));
  // The nats-server uses it in URLs.
  const secrets = clusterPass === null ? [] : [clusterPass, encodeURIComponent(clusterPass)];
  const { logFormat: format, logLevel: level } = settings;
  const log = createLog({ format, level, secrets, write });
  for (const warning of warningsOf(resolved)) log("warn", "settings", { warning });
  for (const warning of found.warnings) log("warn", "certificate", { warning });

  const failed = new AbortController();
  const signal = AbortSignal.any([io.signal, failed.signal]);
  const undo = new Undo();
  const around: Surroundings = { settings, found, signal, log, undo };
  const debug = !["", "0", "false", undefined].includes(io.env.UNIBUS_NATS_DEBUG);
  const missing = missingOf(settings);
  try {
    const bus = { settings, clusterPass, debug, env: io.env, signal, log, undo };
    await preflight(bus, options, missing);
    const { hasAdmin, places, next } = await start(around, bus, failed, options);
    if (isClustered(settings) && missing.includes(serviceKeysPath(settings))) {
      const warning =
        `${serviceKeysPath(settings)} was created; copy the file of one node to all nodes of the ` +
        "cluster, so that every node can admit clients";
      log("warn", "settings", { warning });
    }
    const took = performance.now() - began;
    const say = format === "text" ? write : null;
    announce({ settings, places, missing, hasAdmin, took, next }, log, say);
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

interface Started {
  places: Places;
  hasAdmin: boolean | null;
  next: NextStep | null;
}

async function start(
  around: Surroundings,
  options: BusOptions,
  failed: AbortController,
  { natsOnly, isNew }: StartOptions,
): Promise<Started> {
  const begun = import("./bus.ts").then(({ startBus }) => startBus(options));
  const [bus, local] = await together(
    failed,
    begun,
    // Opened and loaded while the nats-server starts.
    natsOnly ? null : openLocal(around),
    natsOnly ? null : import("../../src/http/mod.ts"),
  );
  const { monitoringUrl } = bus;
  const { names } = around.found;
  const places = {
    nats: named(bus.url, names),
    ...monitoringUrl === undefined ? {} : { monitoring: monitoringUrl },
  };
  const present = (bucket: string | null, follower: Follower | null = null) =>
    answerPresence(
      bus.connection,
      { node: bus.node, bucket, keys: bus.fingerprint },
      () => presenceOf(follower),
    );
  if (natsOnly) {
    present(null);
    const next = await nextStep(around.settings, bus.connection, around.signal);
    return { places, hasAdmin: null, next };
  }
  const storage = local ?? await openReplicated(around, bus, isNew);
  around.signal.throwIfAborted();
  startUpkeep(around, storage.store);
  const callout = await startCallout(around, bus, storage.store);
  around.signal.throwIfAborted();
  const http = named(await startHttp(around, bus, storage, callout), names);
  const { store, bucket } = around.settings;
  present(store === "jetstream" ? bucket ?? "UNIBUS" : null, storage.follower);
  const forgotten = await forgottenBlobs(around.settings, bus.connection, around.signal);
  if (forgotten !== null) {
    around.log("warn", "blobs.forgotten", {
      message: "The blobs were not moved with the store and cannot be read",
      hint: `run ${forgotten}, with the flags for the NATS server`,
    });
  }
  const hasAdmin = await knowsAdmin(storage.store);
  return { places: { http, ...places }, hasAdmin, next: null };
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
