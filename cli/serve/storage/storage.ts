/**
 * Opens the store and the blobs of the server.
 *
 * @module
 */

import { orAbort } from "../../../src/core/async/wait.ts";
import type { SwitchingBlobs } from "../../../src/blobs/switch/switching.ts";
import type { BlobStore } from "../../../src/blobs/types.ts";
import type { StoreWarning } from "../../../src/jetstream/mod.ts";
import { isManaged } from "../../settings/guards.ts";
import { followerPath, type Settings } from "../../settings/settings.ts";
import { makeFolder } from "../../store/folder.ts";
import type { Log } from "../../terminal/log.ts";
import type { Bus } from "../bus.ts";
import { besides, isEmpty, refuseEmpty, wasMoved } from "../checks/beside.ts";
import { maxBlobStore } from "../checks/room.ts";
import type { Surroundings } from "../parts.ts";
import { openBeside } from "./follower.ts";
import type { Storage } from "./types.ts";

/** Opens the store and the blobs on the local disk. */
export async function openLocal({ settings, undo, log }: Surroundings): Promise<Storage> {
  const { openSqlite } = await import("../../../src/sqlite/mod.ts");
  await makeFolder(settings.db);
  const store = openSqlite(settings.db, { history: settings.history });
  undo.add("store", () => store.close());
  if (store.created) tellCreated(log, { db: settings.db });
  const blobs = await switching(await openOnDisk(settings));
  undo.add("blobs", () => blobs.close());
  return { store, blobs, bucket: null, follower: null };
}

/** Opens the blobs on the local disk. */
export async function openOnDisk(settings: Settings): Promise<BlobStore> {
  const { openDiskBlobs } = await import("../../../src/blobs/mod.ts");
  return await openDiskBlobs(settings.storeDir, { reserve: settings.diskReserve });
}

async function switching(blobs: BlobStore): Promise<SwitchingBlobs> {
  const { SwitchingBlobs } = await import("../../../src/blobs/switch/switching.ts");
  return new SwitchingBlobs(blobs);
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

/** How to open a bucket. */
export interface Opening {
  /** Whether to create it, even beside another store. */
  isNew: boolean;
  /** Whether to create it. */
  create: boolean;
  /** Whether it is being filled; what a second copy has of an earlier attempt is discarded. */
  early?: boolean;
}

/**
 * Opens the store and the blobs in JetStream.
 *
 * @param around The surroundings
 * @param bus The connected bus
 * @param how How to open the bucket
 */
export async function openReplicated(
  { settings, undo, log, signal }: Surroundings,
  bus: Bus,
  { isNew, create, early = false }: Opening,
): Promise<Storage> {
  const { connection } = bus;
  const bucket = settings.bucket ?? "UNIBUS";
  // Only for new buckets: a start must not undo a `cluster scale`.
  const replicas = settings.replicas === null ? {} : { replicas: settings.replicas, resize: false };
  const { findStream } = await import("../../../src/jetstream/log/wire.ts");
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
      history: settings.history,
      ...replicas,
      ...early ? { allowInProgress: true, accept: true } : {},
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
    const copies = control?.config.num_replicas ?? settings.replicas ?? 1;
    const blobs = await switching(await openInObjects(bus, settings, bucket, copies, signal));
    undo.add("blobs", () => blobs.close());
    return { store, blobs, bucket, follower };
  } finally {
    clearInterval(waiting);
  }
}

/** Opens the blobs that belong to a bucket. */
export async function openInObjects(
  { connection, fileStore }: Bus,
  settings: Settings,
  bucket: string,
  replicas: number,
  signal: AbortSignal,
): Promise<BlobStore> {
  const { openObjectBlobs } = await import("../../../src/blobs/mod.ts");
  const { thawObjectBlobs } = await import("../../../src/blobs/objects/freeze.ts");
  const { callingOff } = await import("../../../src/jetstream/moved.ts");
  const { Bucket } = await import("../../../src/jetstream/log/bucket.ts");
  const place = { connection, bucket: `${bucket}_BLOBS` };
  const callOffAbandoned = callingOff(new Bucket(connection, bucket));
  return await openObjectBlobs({
    ...place,
    // Else they stay stopped when the process that moved them is gone.
    onFrozen: async () => {
      if (await callOffAbandoned()) await thawObjectBlobs(place);
    },
    maxBytes: maxBlobStore(fileStore, settings),
    replicas,
    resize: false,
    signal,
  });
}
