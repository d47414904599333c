/**
 * The bucket that a move goes into: whether it may be written.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { isEmpty } from "../jetstream/backend.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import { isWrittenSince } from "../jetstream/log/fence.ts";
import { isAside, MARKER_KEY } from "../jetstream/records/keys.ts";
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
  /** The target holds records; they are compared instead of written blindly. */
  occupied: boolean;
  /** The mark as it stands. */
  read: ReadMarker;
  /** Where the stream ended before all this was found. */
  sequence: number;
}

/** The bucket, made when it is not there; `null` in a dry run when it is not. */
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

/** Decides whether the target may be written; `refused` when not. */
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

/** The mark that counts: a run that was killed before it had saved what is there has changed nothing. */
export function markBefore(marker: Marker | null): Marker | null {
  return marker?.replaces === undefined ? marker : marker.replaces;
}

/** Whether the bucket was written since a move into it completed. */
async function isChanged(
  bucket: Bucket,
  marker: Marker,
  revision: number,
  signal?: AbortSignal,
): Promise<boolean> {
  // The mark may have been put back since, so its own revision says nothing of what came before it.
  const { sequence = revision } = marker;
  const info = await streamInfo(bucket, soon());
  if (info?.state.last_seq === revision && revision === sequence + 1) return false;
  const except = (key: string) => isAside(key) || key === MARKER_KEY;
  if (await isWrittenSince(bucket, { sequence, except }, soon())) return true;
  // Behind it are fences only, as reads leave them, or deletions of which nothing is left but a gap.
  const digest = new SnapshotDigest();
  for await (const it of reader(bucket).records(signal)) digest.add(it);
  return digest.summary().digest !== marker.digests?.all;
}

function reason(marker: Marker | null, ours: boolean): string {
  if (marker === null) return "holds a control plane that did not come from this file";
  if (ours) {
    return `was written after this move completed at ${marker.completedAt}: moving again would undo that`;
  }
  if (marker.state === "in_progress") {
    return `holds the beginning of another ${marker.by}, of ${marker.startedAt}`;
  }
  return `holds what another ${marker.by} brought, of ${marker.startedAt}`;
}
