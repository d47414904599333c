/**
 * Opens the components of the server and registers them for closing.
 *
 * @module
 */

import type { BlobStore } from "../../src/blobs/types.ts";
import type { ControlPlane } from "../../src/http/options.ts";
import type { Follower } from "../../src/follower/types.ts";
import type { Fetching } from "../../src/http/serve/types.ts";
import type { AuthCallout } from "../../src/nats/types.ts";
import type { ClusterStatus } from "../../src/core/operations.ts";
import type { Store } from "../../src/core/store.ts";
import type { StoreWarning } from "../../src/jetstream/mod.ts";
import { orAbort } from "../../src/core/async/wait.ts";
import { makeFolder } from "../store/folder.ts";
import { authoritiesOf } from "./authorities.ts";
import { besides, isEmpty, refuseEmpty, wasMoved } from "./checks/beside.ts";
import type { Bus } from "./bus.ts";
import type { Inspection } from "./certificates.ts";
import { calloutEvents, httpEvents } from "./log/events.ts";
import { checkFollower, measureFollower, openBeside } from "./follower.ts";
import { hasConsole, isManaged, isPublic } from "../settings/guards.ts";
import type { Log } from "../terminal/log.ts";
import { maxBlobStore } from "./checks/room.ts";
import { followerPath, type Settings } from "../settings/settings.ts";
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

/** The storage of the control plane and the blobs. */
export interface Storage {
  /** The control plane. */
  store: Store;
  /** The blobs. */
  blobs: BlobStore;
  /** The second copy of the control plane; `null` where none is kept. */
  follower: Follower | null;
}

/** Opens the store and the blobs on the local disk; returns null if both are in JetStream. */
export async function openLocal({ settings, undo, log }: Surroundings): Promise<Storage | null> {
  if (settings.store === "jetstream") return null;
  const { openSqlite } = await import("../../src/sqlite/mod.ts");
  await makeFolder(settings.db);
  const store = openSqlite(settings.db);
  undo.add("store", () => store.close());
  if (store.created) tellCreated(log, { db: settings.db });
  const { openDiskBlobs } = await import("../../src/blobs/mod.ts");
  const blobs = await openDiskBlobs(settings.storeDir, { reserve: settings.diskReserve });
  undo.add("blobs", () => blobs.close());
  return { store, blobs, follower: null };
}

function tellCreated(log: Log, where: Record<string, string>): void {
  log("info", "store.created", { ...where, message: "An empty control plane was created" });
}

/** Interval in milliseconds at which waiting for the cluster is logged. */
const WAITING_MS = 5_000;

/** Timeout in milliseconds for a cluster to elect a leader. */
const MAKE_MS = 120_000;
/** Timeout in milliseconds for reading the bucket's number of copies. */
const FIND_MS = 30_000;

/**
 * Opens the store and the blobs in JetStream.
 *
 * @param around The surroundings
 * @param bus The connected bus
 * @param how Whether to create the bucket, and even beside another store
 */
export async function openReplicated(
  { settings, undo, log, signal }: Surroundings,
  { connection, fileStore }: Bus,
  { isNew, create }: { isNew: boolean; create: boolean },
): Promise<Storage> {
  const bucket = settings.bucket ?? "UNIBUS";
  // Only for new buckets: a start must not undo a `cluster scale`.
  const replicas = settings.replicas === null ? {} : { replicas: settings.replicas, resize: false };
  const { openObjectBlobs } = await import("../../src/blobs/mod.ts");
  const { findStream } = await import("../../src/jetstream/cluster/copies.ts");
  const waiting = setInterval(() => log("info", "store.waiting", { bucket }), WAITING_MS);
  const beside = isNew || !create ? [] : await besides(settings);
  try {
    if (beside.length > 0) {
      const there = await findStream(connection, `KV_${bucket}`, Date.now() + MAKE_MS, signal);
      if (there === null) refuseEmpty(settings, beside);
    }
    const options = {
      connection,
      bucket,
      create,
      ...replicas,
      signal,
      onWarning: ({ code, message }: StoreWarning) => {
        // Our own nats-server syncs each write.
        if (isManaged(settings) && code !== "other_replicas") return;
        log("warn", `store.${code}`, { message });
      },
    };
    const { store, follower } = await orAbort(
      openBeside(options, followerPath(settings), log),
      signal,
      ({ store }) => void store.close(),
    );
    undo.add("store", () => store.close());
    if (store.created) tellCreated(log, { bucket });
    // Another node without such data may have created the bucket.
    const isShut = (follower?.alarm ?? null) !== null;
    if (
      !isShut && beside.length > 0 && await isEmpty(store) && !await wasMoved(connection, bucket)
    ) {
      refuseEmpty(settings, beside);
    }
    // A new bucket for blobs gets as many copies as the control plane has.
    const control = await findStream(connection, `KV_${bucket}`, Date.now() + FIND_MS, signal);
    const blobs = await openObjectBlobs({
      connection,
      bucket: `${bucket}_BLOBS`,
      maxBytes: maxBlobStore(fileStore, settings),
      replicas: control?.config.num_replicas ?? settings.replicas ?? 1,
      resize: false,
      signal,
    });
    undo.add("blobs", () => blobs.close());
    return { store, blobs, follower };
  } finally {
    clearInterval(waiting);
  }
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
  { bucket }: Settings,
  signal: AbortSignal,
): Promise<ClusterStatus> {
  const { fullStatus } = await import("../cluster/status.ts");
  return await fullStatus(connection, system, bucket ?? "UNIBUS", signal);
}

async function makePlane(
  { settings, found, log, signal }: Surroundings,
  bus: Bus,
  { store, blobs, follower }: Storage,
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
  const plane = createControlPlane(store, {
    busAuth,
    blobs,
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
      ...follower === null ? [] : [checkFollower(follower)],
    ],
    alarm: () => follower?.alarm ?? null,
    ...authorities === null ? {} : { authorities },
    ...settings.store === "jetstream" ? { cluster: () => look(bus, settings, signal) } : {},
  });
  plane.gauge("unibus_nats_restarts", "Restarts of the nats-server", bus.restarts);
  if (follower !== null) measureFollower(plane, follower);
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
