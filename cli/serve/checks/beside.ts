/**
 * Detects data next to a store that would be created empty: a control plane that has not been moved
 * into it yet, and its blobs.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError } from "../../../src/core/errors.ts";
import { findStream } from "../../../src/jetstream/log/wire.ts";
import { CONTROL_ACCOUNT } from "../../../src/nats/callout/accounts.ts";
import type { Store } from "../../../src/core/store.ts";
import { lookAt } from "../../cluster/directory.ts";
import { UsageError } from "../../terminal/failure.ts";
import { isClustered } from "../../settings/guards.ts";
import type { Settings } from "../../settings/settings.ts";

/** A control plane or its blobs, and the command to move them into the store. */
export interface Beside {
  path: string;
  what: "file" | "streams" | "blobs";
  command: string;
}

/** Timeout of a request in milliseconds. */
const PATIENCE_MS = 5_000;

const bucketOf = ({ bucket }: Pick<Settings, "bucket">): string => bucket ?? "UNIBUS";

/** Finds data next to the store of these settings. */
export async function besides(settings: Settings): Promise<Beside[]> {
  const { store, db, storeDir, natsStore } = settings;
  const found: Beside[] = [];
  if (store === "jetstream" && await isControlPlane(db)) {
    found.push({ path: db, what: "file", command: `membershipd migrate-to-kv --db ${db}` });
  }
  for (const path of await directoriesOf(settings)) {
    const command = path === natsStore
      ? "membershipd migrate-to-sqlite"
      : `membershipd cluster import ${path}`;
    found.push({ path, what: "streams", command });
  }
  if (await holdsBlobs(storeDir)) {
    const command = `membershipd blobs to-kv --store-dir ${storeDir}`;
    found.push({ path: storeDir, what: "blobs", command });
  }
  return found;
}

/** Reports whether a file contains records; true if it cannot be read. */
export async function isControlPlane(path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  try {
    const { openSqlite } = await import("../../../src/sqlite/mod.ts");
    await using store = openSqlite(path, { readOnly: true });
    return !await isEmpty(store);
  } catch {
    return true;
  }
}

/**
 * Finds directories of streams with a control plane: renamed ones and, with `--store sqlite`, our
 * own.
 */
async function directoriesOf(settings: Settings): Promise<string[]> {
  const { natsStore, store } = settings;
  const parent = dirname(natsStore);
  const aside = await namesIn(parent);
  const paths = [
    ...store === "sqlite" ? [natsStore] : [],
    ...aside.filter((it) => it.startsWith(`${basename(natsStore)}.`)).map((it) => join(parent, it)),
  ];
  const stream = `KV_${bucketOf(settings)}`;
  const holds = await Promise.all(
    paths.map(async (path) =>
      (await lookAt(path)).streams.some((it) =>
        it.account === CONTROL_ACCOUNT && it.stream === stream
      )
    ),
  );
  return paths.filter((_, i) => holds[i]);
}

/** Reports whether a directory contains blobs. */
export async function holdsBlobs(directory: string): Promise<boolean> {
  for (const name of await namesIn(directory)) {
    if (!/^[0-9a-f]{2}$/.test(name)) continue;
    for (const inner of await namesIn(join(directory, name))) {
      if ((await namesIn(join(directory, name, inner))).length > 0) return true;
    }
  }
  return false;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch {
    // A path that is not a directory counts as empty; a permission error is reported when it is
    // used.
    return [];
  }
}

/**
 * Refuses to create an empty store next to a control plane that has not been moved into it.
 *
 * @throws {UsageError} There is such a control plane
 */
export function refuseEmpty(settings: Settings, found: readonly Beside[]): void {
  if (found.length === 0) return;
  const where = settings.store === "sqlite"
    ? `--db ${settings.db}`
    : `bucket ${bucketOf(settings)}`;
  const lines = found.map(({ what, path, command }) => {
    if (what === "blobs") return `${path} (blobs)`;
    return `${path} (${what === "file" ? "a SQLite file" : "streams"}; move it with ${command})`;
  });
  throw new UsageError(
    `Refused to create an empty store: ${where} has no records, but other data was found: ` +
      `${lines.join(", ")}; move it first (docs/migration.md), or start with --new`,
  );
}

/** Reports whether a store has no records. */
export async function isEmpty(store: Store): Promise<boolean> {
  const limit = { limit: 1 };
  const pages = await Promise.all([
    store.listUsers(limit),
    store.listRooms(limit),
    store.listInvites(limit),
  ]);
  return pages.every(({ items }) => items.length === 0);
}

/** Reports whether a bucket was filled by a move or an import, even an empty one. */
export async function wasMoved(connection: NatsConnection, bucket: string): Promise<boolean> {
  const { Bucket } = await import("../../../src/jetstream/log/bucket.ts");
  const { readMarker } = await import("../../../src/jetstream/log/marker.ts");
  const { marker } = await readMarker(new Bucket(connection, bucket), Date.now() + PATIENCE_MS);
  return marker !== null;
}

/** The next step while only the nats-server runs: move a store into it, or serve its store. */
export type NextStep =
  | { kind: "import"; from: string }
  | { kind: "migrate" | "serve" };

/** Returns the next step, or null if it is unknown. */
export async function nextStep(
  settings: Settings,
  connection: NatsConnection,
  signal: AbortSignal,
): Promise<NextStep | null> {
  const bucket = bucketOf(settings);
  const { openJetStream } = await import("../../../src/jetstream/mod.ts");
  try {
    const options = { connection, bucket, create: false, bootstrapTimeout: PATIENCE_MS, signal };
    await (await openJetStream(options)).close();
    return { kind: "serve" };
  } catch (error) {
    if (!isStoreError(error, "not_found") && !isStoreError(error, "in_progress")) return null;
  }
  const found = await besides({ ...settings, store: "jetstream" });
  const streams = found.find((it) => it.what === "streams");
  if (streams !== undefined) return { kind: "import", from: streams.path };
  // In a cluster, the file is on one node only.
  return !isClustered(settings) || found.some((it) => it.what === "file")
    ? { kind: "migrate" }
    : null;
}

/**
 * Returns the command to move blobs that were not moved with the store, or null if there are none.
 */
export async function forgottenBlobs(
  settings: Pick<Settings, "store" | "bucket" | "storeDir">,
  connection: NatsConnection,
  signal?: AbortSignal,
): Promise<string | null> {
  const stream = `OBJ_${bucketOf(settings)}_BLOBS`;
  const onDisk = await holdsBlobs(settings.storeDir);
  const deadline = Date.now() + PATIENCE_MS;
  if (settings.store === "jetstream") {
    if (!onDisk) return null;
    const objects = await findStream(connection, stream, deadline, signal);
    if (objects !== null && objects.state.messages > 0) return null;
    return `membershipd blobs to-kv --store-dir ${settings.storeDir}`;
  }
  if (onDisk) return null;
  const objects = await findStream(connection, stream, deadline, signal).catch(() => null);
  if (objects === null || objects.state.messages === 0) return null;
  return `membershipd blobs to-disk --store-dir ${settings.storeDir}`;
}
