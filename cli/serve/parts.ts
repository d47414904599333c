/**
 * Starts the components of the server that use its storage and registers them for closing.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type { ControlPlane } from "../../src/http/options.ts";
import type { Fetching } from "../../src/http/serve/types.ts";
import type { AuthCallout } from "../../src/nats/types.ts";
import type { ClusterStatus, ControlPlaneNode, Journey } from "../../src/core/operations.ts";
import type { Store } from "../../src/core/store.ts";
import { type NodeList, watchNodes } from "../cluster/nodes.ts";
import type { Presence } from "../cluster/presence.ts";
import { authoritiesOf } from "./authorities.ts";
import type { Bus } from "./bus.ts";
import type { Inspection } from "./certificates.ts";
import { calloutEvents, httpEvents } from "./log/events.ts";
import { hasConsole, isPublic } from "../settings/guards.ts";
import type { Log } from "../terminal/log.ts";
import type { Page } from "./node/page.ts";
import type { Serving } from "./node/restarts.ts";
import { type PublicUrls, publicUrls } from "./public_urls.ts";
import type { Settings } from "../settings/settings.ts";
import { checkJourney } from "./journey/report.ts";
import { checkFollower, measureFollower, statusOf } from "./storage/follower.ts";
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
  /** What HTTP answers until the store is served. */
  readonly page: Page;
}

/**
 * Starts the auth callout; returns null without an issuer key.
 *
 * @param nodes The nodes, known when the HTTP server has started: a client with a session's key waits
 */
export async function startCallout(
  { settings, undo, log }: Surroundings,
  { connection, system, issuerSeed }: Bus,
  store: Store,
  nodes: Promise<NodeList>,
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
    isAudience: async (authority) => await (await nodes).isAudience(authority),
    onEvent: calloutEvents(log),
  });
  undo.add("callout", () => callout.stop());
  return callout;
}

/** Time limit for requests in flight when the server stops, in milliseconds. */
const GRACE_MS = 5_000;

/** How long a node of several refuses requests before it closes their connections, milliseconds. */
const LEAVE_MS = 500;

/** What the HTTP server tells the other nodes of itself. */
type Told = PublicUrls & Pick<Presence, "sessions">;

/** Starts the HTTP server; returns its URL, what it tells the other nodes, and those. */
export async function startHttp(
  around: Surroundings,
  bus: Bus,
  storage: Storage,
  callout: AuthCallout | null,
  journey: () => Journey | null,
): Promise<{ url: string; announced: Told & Pick<Serving, "ready">; nodes: NodeList }> {
  const { settings, found, undo, page } = around;
  const { maxConnectionsPerAddress } = settings;
  const { serve } = await import("../../src/http/mod.ts");
  const { notReady } = await import("../../src/http/serve/not_ready.ts");
  let plane: ControlPlane | null = null;
  let nodes: NodeList | null = null;
  let isLeaving = false;
  const fetch: Fetching["fetch"] = (request, peer) =>
    plane === null || isLeaving
      ? notReady(`The server is ${isLeaving ? "stopping" : "starting"}`)
      : plane.fetch(request, peer);
  await page.close();
  const server = await serve({ fetch }, {
    hostname: settings.bind,
    port: page.port,
    // Deno's own server, used on loopback, cannot limit connections.
    hardened: isPublic(settings) || maxConnectionsPerAddress !== null,
    ...maxConnectionsPerAddress === null ? {} : { maxConnectionsPerAddress },
    ...found.pair === null ? {} : { tls: found.pair },
  });
  undo.add("http", async () => {
    isLeaving = true;
    // Ends open event streams, which the close would wait for.
    plane?.close();
    // Clients on open connections are told to use another node, before the connections are cut.
    if ((nodes?.list().length ?? 0) > 1) await delay(LEAVE_MS);
    nodes?.stop();
    await server.close(GRACE_MS);
  }, LEAVE_MS + GRACE_MS + 2_000);
  // Its URLs and authorities contain the port, which is known only now.
  const authorities = authoritiesOf(settings, found.names, server.port);
  const announced = {
    ...publicUrls(settings, found.names, {
      http: server.port,
      nats: bus.url,
      ws: bus.wsPort,
    }),
    ...callout !== null && authorities !== null && { sessions: authorities },
  };
  nodes = watchNodes(bus.connection, () => ({
    node: bus.node,
    bucket: storage.bucket,
    keys: bus.fingerprint,
    ...announced,
  }));
  plane = await makePlane(around, bus, storage, {
    callout,
    authorities,
    nodes: nodes.list,
    journey,
  });
  const ready = async () => {
    const address = "127.0.0.1";
    const response = await fetch(new Request(`http://${address}/readyz`), { address });
    const { ok = false, checks = [] } = await response.json();
    return { ok, checks };
  };
  return { url: server.url, announced: { ...announced, ready }, nodes };
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

/** What a control plane reports besides its storage. */
interface Beside {
  callout: AuthCallout | null;
  authorities: readonly string[] | null;
  nodes: () => readonly ControlPlaneNode[];
  journey: () => Journey | null;
}

async function makePlane(
  { settings, log, signal }: Surroundings,
  bus: Bus,
  storage: Storage,
  { callout, authorities, nodes, journey }: Beside,
): Promise<ControlPlane> {
  const { createControlPlane } = await import("../../src/http/mod.ts");
  const { busAuth, maxBlobBytes, maxBlobBytesPerUser, maxBodyMemory } = settings;
  const { maxRoomsPerOwner, maxMembersPerRoom, maxEpochsKept } = settings;
  if (authorities === null && busAuth === "enforce") {
    log("warn", "settings", {
      warning:
        "The names of this server are unknown, so requests signed for another server are accepted " +
        "too, and session keys are not; set --authority",
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
      ...checkJourney(journey()),
    ],
    alarm: () => storage.follower?.alarm ?? null,
    follower: () => storage.follower && statusOf(storage.follower),
    cluster: () => look(bus, storage, signal),
    journey,
    nodes,
    connections: (endpoint) => callout?.connections(endpoint) ?? null,
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
