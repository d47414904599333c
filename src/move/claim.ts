/**
 * Taking the target for a move: marked first, so that no store opens it, then saved if it is replaced.
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

/** A target that is this run's. */
export interface Claim {
  /** The mark as it stands. */
  marker: Marker;
  /** Its revision. */
  revision: number;
}

/**
 * Marks the target, which must be as the preflight found it. What is to be replaced is saved behind
 * the mark, beside `path`; when that fails the mark before is put back.
 */
export async function claimTarget(
  bucket: Bucket,
  plan: Plan,
  { source, path, signal }: { source: string; path: string; signal?: AbortSignal | undefined },
): Promise<Claim> {
  const { saved } = plan.state === "resumed" ? plan.read.marker! : {};
  const marker: Marker = {
    state: "in_progress",
    by: "migration",
    source,
    startedAt: new Date().toISOString(),
    ...(saved === undefined ? {} : { saved }),
  };
  if (plan.state !== "replaced") {
    return { marker, revision: await claimBucket(bucket, marker, plan, soon()) };
  }
  const before = markBefore(plan.read.marker);
  const revision = await claimBucket(bucket, { ...marker, replaces: before }, plan, soon());
  try {
    marker.saved = `${path}.replaced-${stamp()}.ndjson`;
    await save(bucket, marker.saved, signal);
    if (await isWrittenSince(bucket, { sequence: revision }, soon())) {
      throw new StoreError(
        "conflict",
        `Bucket ${bucket.name} was written while it was saved; stop what uses it, and run the move again`,
      );
    }
  } catch (error) {
    // When this fails too the mark says what it replaces, and the next run begins there.
    await writeMarker(bucket, before, revision, soon()).catch(() => {});
    throw error;
  }
  return { marker, revision: await writeMarker(bucket, marker, revision, soon()) };
}

/** Saves what the bucket holds; the file has its name when it is whole. */
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
