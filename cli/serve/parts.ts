/**
 * Starts the components of the server that use its storage and registers them for closing.
 *
 * @module
 */

import type { ControlPlane } from "../../src/http/options.ts";
import type { Fetching } from "../../src/http/serve/types.ts";
import type { AuthCallout } from "../../src/nats/types.ts";
import type { ClusterStatus } from "../../src/core/operations.ts";
import type { Store } from "../../src/core/store.ts";
import { authoritiesOf } from "./authorities.ts";
import type { Bus } from "./bus.ts";
import type { Inspection } from "./certificates.ts";
import { calloutEvents, httpEvents } from "./log/events.ts";
import { hasConsole, isPublic } from "../settings/guards.ts";
import type { Log } from "../terminal/log.ts";
import type { Settings } from "../settings/settings.ts";
import { checkFollower, measureFollower } from "./storage/follower.ts";
import type { Storage } from "./storage/types.ts";
import type { Undo } from "./undo.ts";

/** What the components need. */
export interface Surroundings {
  /** The settings. */
  readonly settings: Settings;
  /** The certificates. */
  readonly found: Inspection;
  /** Aborts the start. */
  readonly signal: AbortSignal;
  /** The log. */
  readonly log: Log;
  /** Started components, for the stop. */
  readonly undo: Undo;
}

/** Starts the auth callout; returns null without an issuer key. */
export async function startCallout(
  { settings, undo, log }: Surroundings,
  { connection, system, issuerSeed }: Bus,
  store: Store,
): Promise<AuthCallout | null> {
  // Also with `off`: it admits clients that present credentials.
  if (issuerSeed === null) return null;
  const { startAuthCallout } = await import("../../src/nats/mod.ts");
  const callout = await startAuthCallout({
    store,
    connection,
    ...system === null ? {} : { system },
    issuerSeed,
    mode: settings.busAuth,
    onEvent: calloutEvents(log),
  });
  undo.add("callout", () => callout.stop());
  return callout;
}

/** Time limit for requests in flight when the server stops, in milliseconds. */
const GRACE_MS = 5_000;

/** Starts the HTTP server; returns its URL. */
export async function startHttp(
  around: Surroundings,
  bus: Bus,
  storage: Storage,
  callout: AuthCallout | null,
): Promise<string> {
  const { settings, found, undo } = around;
  const { maxConnectionsPerAddress } = settings;
  const { serve } = await import("../../src/http/mod.ts");
  let plane: ControlPlane | null = null;
  const fetch: Fetching["fetch"] = (request, peer) => plane?.fetch(request, peer) ?? notYet();
  const server = await serve({ fetch }, {
    hostname: settings.bind,
    port: settings.httpPort,
    // Deno's own server, used on loopback, cannot limit connections.
    hardened: isPublic(settings) || maxConnectionsPerAddress !== null,
    ...maxConnectionsPerAddress === null ? {} : { maxConnectionsPerAddress },
    ...found.pair === null ? {} : { tls: found.pair },
  });
  undo.add("http", () => {
    // Ends open event streams, which the close would wait for.
    plane?.close();
    return server.close(GRACE_MS);
  }, GRACE_MS + 2_000);
  // Its authorities contain the port, which is known only now.
  plane = await makePlane(around, bus, storage, callout, server.port);
  return server.url;
}

function notYet(): Response {
  return new Response("The server is starting", { status: 503, headers: { "retry-after": "1" } });
}

async function look(
  { connection, system }: Bus,
  { bucket }: Storage,
  signal: AbortSignal,
): Promise<ClusterStatus | null> {
  if (bucket === null) return null;
  const { fullStatus } = await import("../cluster/status.ts");
  return await fullStatus(connection, system, bucket, signal);
}

async function makePlane(
  { settings, found, log, signal }: Surroundings,
  bus: Bus,
  storage: Storage,
  callout: AuthCallout | null,
  port: number,
): Promise<ControlPlane> {
  const { createControlPlane } = await import("../../src/http/mod.ts");
  const { busAuth, maxBlobBytes, maxBlobBytesPerUser, maxBodyMemory } = settings;
  const { maxRoomsPerOwner, maxMembersPerRoom, maxEpochsKept } = settings;
  const authorities = authoritiesOf(settings, found.names, port);
  if (authorities === null && busAuth === "enforce") {
    log("warn", "settings", {
      warning:
        "The names of this server are unknown, so requests signed for another server are accepted " +
        "too; set --authority",
    });
  }
  const plane = createControlPlane(storage.store, {
    busAuth,
    blobs: storage.blobs,
    maxBlobBytes,
    maxBlobBytesPerUser,
    maxBodyMemory,
    maxRoomsPerOwner,
    maxMembersPerRoom,
    maxEpochsKept,
    requireEncrypted: isPublic(settings),
    pages: { console: hasConsole(settings) },
    onEvent: httpEvents(log),
    readiness: async () => [
      await bus.check(),
      ...callout === null ? [] : [{ name: "callout", ...callout.status() }],
      ...storage.follower === null ? [] : [checkFollower(storage.follower)],
    ],
    alarm: () => storage.follower?.alarm ?? null,
    cluster: () => look(bus, storage, signal),
    ...authorities === null ? {} : { authorities },
  });
  plane.gauge("unibus_nats_restarts", "Restarts of the nats-server", bus.restarts);
  measureFollower(plane, () => storage.follower);
  if (callout !== null) {
    const count = (name: string, help: string, key: keyof ReturnType<AuthCallout["counts"]>) =>
      plane.gauge(`unibus_bus_${name}`, help, () => callout.counts()[key]);
    count("admitted", "Clients admitted", "admitted");
    count("refused", "Clients refused", "refused");
    count("would_refuse", "Clients admitted by soft that enforce would reject", "wouldRefuse");
    count("kicked", "Open connections closed", "kicked");
    count("dropped", "Requests dropped because of overload", "dropped");
  }
  return plane;
}
