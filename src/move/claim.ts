/**
 * Claims the target of a migration: marks it, so that no store opens it, and saves it if it is replaced.
 * Afterwards, its SQLite file notes where the control plane is.
 *
 * @module
 */

import { toStoreError } from "../files/errors.ts";
import { StoreError } from "../core/errors.ts";
import { writeWhole } from "../files/write.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import { isWrittenSince } from "../jetstream/log/fence.ts";
import { claimBucket, type Marker, writeMarker } from "../jetstream/log/marker.ts";
import { exportSnapshot } from "../snapshot/mod.ts";
import { reader, soon, stamp } from "./steps.ts";
import { markBefore, type Plan } from "./target.ts";
import type { JetStreamOptions } from "../jetstream/mod.ts";
import { withoutLogins } from "../nats/connection/servers.ts";
import type { SqliteSource } from "../sqlite/file/source.ts";

/** A target claimed by this run. */
export interface Claim {
  /** The mark. */
  marker: Marker;
  /** Its revision. */
  revision: number;
}

/**
 * Marks the target if it has not changed since the preflight. Contents to be replaced are saved after
 * that, to a file beside `path`; if saving fails, the previous mark is restored.
 *
 * @throws {StoreError} `conflict`: the target has changed
 */
export async function claimTarget(
  bucket: Bucket,
  plan: Plan,
  { source, path, generation, signal }: {
    source: string;
    path: string;
    generation: number;
    signal?: AbortSignal | undefined;
  },
): Promise<Claim> {
  const { saved } = plan.state === "resumed" ? plan.read.marker! : {};
  const marker: Marker = {
    state: "in_progress",
    by: "migration",
    source,
    startedAt: new Date().toISOString(),
    generation,
    ...(saved === undefined ? {} : { saved }),
  };
  if (plan.state !== "replaced") {
    return { marker, revision: await claimBucket(bucket, marker, plan) };
  }
  const before = markBefore(plan.read.marker);
  const revision = await claimBucket(bucket, { ...marker, replaces: before }, plan);
  try {
    marker.saved = `${path}.replaced-${stamp()}.ndjson`;
    await save(bucket, marker.saved, signal);
    if (await isWrittenSince(bucket, { sequence: revision }, soon())) {
      throw new StoreError(
        "conflict",
        `Bucket ${bucket.name} was written while it was saved`,
        { hint: "stop the programs that use it, then run the migration again" },
      );
    }
  } catch (error) {
    // If this fails too, the mark names what it replaces, and the next run continues from there.
    await writeMarker(bucket, before, revision, soon()).catch(() => {});
    throw error;
  }
  return { marker, revision: await writeMarker(bucket, marker, revision, soon()) };
}

/** Saves the bucket's contents to a snapshot file. */
async function save(bucket: Bucket, path: string, signal?: AbortSignal): Promise<void> {
  const backend = reader(bucket);
  const records = (options?: { signal?: AbortSignal }) => backend.records(options?.signal);
  const stream = exportSnapshot({ records }, { signal });
  try {
    await writeWhole(path, stream, { replace: true });
  } catch (error) {
    throw toStoreError(error, `Saving bucket ${bucket.name} to ${path}`);
  }
}

/** Records in the file where its control plane is now, unless it already says so. */
export function noteMove(
  source: SqliteSource,
  bucket: Bucket,
  { servers = bucket.nc.getServer() }: JetStreamOptions,
  generation: number,
): void {
  // Without user and password, because more people can read the file than may migrate it.
  const place = { bucket: bucket.name, servers: withoutLogins(servers) };
  const { role, place: last, generation: before } = source.role;
  const { at: _, ...known } = last ?? { at: "" };
  const isNoted = role === "moved" && JSON.stringify(known) === JSON.stringify(place);
  if (isNoted && before === generation) return;
  source.setMoved({ ...place, at: new Date().toISOString() }, generation);
}
