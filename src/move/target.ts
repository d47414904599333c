/**
 * The target bucket of a migration, and whether it may be written.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { isEmpty } from "../jetstream/backend.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import { isWrittenSince } from "../jetstream/log/fence.ts";
import { HISTORY_PATTERN, isAside, MARKER_KEY } from "../jetstream/records/keys.ts";
import { type Marker, type ReadMarker, readMarker, writeMarker } from "../jetstream/log/marker.ts";
import { type OpenBucket, openBucket } from "../jetstream/mod.ts";
import { streamInfo } from "../jetstream/log/stream.ts";
import { SnapshotDigest } from "../snapshot/mod.ts";
import type { SqliteSource } from "../sqlite/file/source.ts";
import { reader, soon } from "./steps.ts";
import type { SqliteToKvOptions, TargetState } from "./types.ts";

/** What the preflight found. */
export interface Plan {
  state: TargetState;
  /** Whether the target has records: then they are compared, and only differences are written. */
  occupied: boolean;
  /** The current mark. */
  read: ReadMarker;
  /** The stream's last sequence before the preflight. */
  sequence: number;
}

/** Opens the bucket, or creates it. In a dry run, returns `null` if it does not exist. */
export async function openTarget(options: SqliteToKvOptions): Promise<OpenBucket | null> {
  const { nats, replicas, dryRun = false, signal } = options;
  try {
    return await openBucket({
      ...nats,
      create: !dryRun,
      ...(replicas === undefined || dryRun ? {} : { replicas }),
      signal: signal ?? nats.signal,
    });
  } catch (error) {
    if (dryRun && error instanceof StoreError && error.code === "not_found") return null;
    throw error;
  }
}

/**
 * Decides whether the target may be written.
 *
 * @throws {StoreError} `refused`: it has other records, and `replace` is not set
 */
export async function judge(
  { bucket, info }: OpenBucket,
  source: SqliteSource,
  { replace = false, dryRun = false, signal }: SqliteToKvOptions,
): Promise<Plan> {
  const { last_seq: sequence } = info.state;
  const read = await readMarker(bucket, soon());
  const occupied = !await isEmpty(bucket, signal);
  const plan = (state: TargetState): Plan => ({ state, occupied, read, sequence });
  const marker = markBefore(read.marker);
  const ours = marker?.by === "migration" && marker.source === source.storeId;
  if (ours && marker.state === "in_progress") return plan("resumed");
  if (ours && marker.state === "complete") {
    if (!await isChanged(bucket, marker, read.revision, signal)) return plan("repeated");
  } else if (!occupied) return plan("empty");
  if (replace) return plan("replaced");
  if (marker !== read.marker && !dryRun) {
    await writeMarker(bucket, marker, read.revision, soon());
  }
  throw new StoreError(
    "refused",
    `Bucket ${bucket.name} ${reason(marker, ours)}; replace overrides, after saving it to a file`,
    { field: "replace" },
  );
}

/** Returns the mark that counts: a run killed before it had saved the target has changed nothing. */
export function markBefore(marker: Marker | null): Marker | null {
  return marker?.replaces === undefined ? marker : marker.replaces;
}

/** Returns whether the bucket was written after a migration into it completed. */
async function isChanged(
  bucket: Bucket,
  marker: Marker,
  revision: number,
  signal?: AbortSignal,
): Promise<boolean> {
  // The mark may have been restored since, so its own revision proves nothing about earlier writes.
  const { sequence = revision } = marker;
  const info = await streamInfo(bucket, soon());
  const { last_seq: last } = info!.state;
  if (revision === sequence + 1) {
    if (last === revision) return false;
    // With it the history got the entry of the move.
    const newest = await bucket.get(HISTORY_PATTERN, soon());
    if (last === revision + 1 && newest?.revision === last) return false;
  }
  const except = (key: string) => isAside(key) || key === MARKER_KEY;
  if (await isWrittenSince(bucket, { sequence, except }, soon())) return true;
  // After it are only fences, which reads write, or deletions, which may have left only a gap.
  const digest = new SnapshotDigest();
  for await (const record of reader(bucket).records(signal)) digest.add(record);
  return digest.summary().digest !== marker.digests?.all;
}

function reason(marker: Marker | null, ours: boolean): string {
  if (marker === null) return "has a control plane that did not come from this file";
  if (ours) {
    return `was written after this migration completed at ${marker.completedAt}, which would be lost`;
  }
  if (marker.state === "in_progress") {
    return `has an incomplete ${marker.by} of another source, started at ${marker.startedAt}`;
  }
  return `has the records of another ${marker.by}, started at ${marker.startedAt}`;
}
