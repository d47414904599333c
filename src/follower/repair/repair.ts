/**
 * Writes back what a stream lost, from a follower that still holds it.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { counted } from "../../core/text/counted.ts";
import {
  BATCH_LIMIT,
  type Bucket,
  MARKER_TTL_SECONDS,
  type Write,
} from "../../jetstream/log/bucket.ts";
import { type Marker, readMarker, writeMarker } from "../../jetstream/log/marker.ts";
import { WrongRevision } from "../../jetstream/log/wire.ts";
import { type JetStreamOptions, openBucket } from "../../jetstream/mod.ts";
import { checkFile } from "../file/check.ts";
import { forgetHistoryOrigin, keptGeneration, keptMarker } from "../kept.ts";
import { openStill, type StillFile } from "../flip.ts";
import { followStore } from "../follow.ts";
import { type ChangeKind, type Difference, findDifferences, type Found } from "./differences.ts";
import { type RepairedHistory, repairHistory } from "./history.ts";
import { valuesOf } from "../file/values.ts";

/** Options of {@link repairStream}. */
export interface RepairOptions {
  /** The follower's file. */
  db: string;
  /** Where the bucket is. */
  nats: JetStreamOptions;
  /** Only report. Default `false`. */
  dryRun?: boolean;
  /** Write back keys also where a later deletion may be forgotten. Default `false`. */
  force?: boolean;
  /** Ends it; what was written stays, and the next run continues. */
  signal?: AbortSignal;
  /** Called with each key that is, or would be, written. */
  onChange?: (change: Difference) => void | Promise<void>;
  /** Called with the number of keys that were written. */
  onProgress?: (done: number, total: number) => void;
  /** Who repairs, for the history. Default `library`. */
  by?: string;
}

/** What {@link repairStream} did. */
export interface RepairReport {
  /** Version of this report's shape. */
  version: 1;
  /** Nothing was written: this is what would be done. */
  dryRun: boolean;
  /** The follower's file. */
  db: string;
  /** The bucket. */
  bucket: string;
  /** The position that the file was exact at. */
  position: number;
  /** When the file was last written, ISO 8601. */
  updatedAt: string;
  /** Keys by what was done. */
  changes: Record<ChangeKind, number>;
  /** Keys that were written after the file's position; they stay. */
  kept: number;
  /** What was done with the history. */
  history: RepairedHistory;
}

/** How often the stream is compared again because others wrote meanwhile. */
const ROUNDS = 10;
/** Time limit of a batch, milliseconds. */
const PATIENCE = 30_000;
/** After this time a deletion may have left no trace in the stream, milliseconds. */
const REMEMBERED = (MARKER_TTL_SECONDS - 3600) * 1000;

/**
 * Writes everything to a stream that an exact follower holds and the stream does not, and deletes again
 * what came back. Keys that were written after the follower's position stay. Then the follower takes the
 * stream as it is, without its alarm.
 *
 * @throws {StoreError} `refused`: the file is not exact or in use, or the bucket was created again and
 * holds something else; `corrupt`: the file is damaged; `conflict`: others kept writing; `not_found`
 */
export async function repairStream(options: RepairOptions): Promise<RepairReport> {
  const { db, nats, dryRun = false, signal, onChange } = options;
  const report = await withFile(options, async (file, bucket) => {
    const changes: RepairReport["changes"] = { restore: 0, replace: 0, delete: 0 };
    let { differences, kept } = await compare(file, bucket, options);
    for (const it of differences) {
      changes[it.change]++;
      await onChange?.(it);
    }
    for (let round = 1; differences.length > 0 && !dryRun; round++) {
      if (round > ROUNDS) {
        throw new StoreError(
          "conflict",
          `Repairing bucket ${bucket.name}: others kept writing to it`,
          { hint: "stop the servers that admit clients, and run the command again" },
        );
      }
      await writeBack(file, bucket, differences, options);
      ({ differences, kept } = await compare(file, bucket, options));
    }
    bucket.generation = await restoreMarker(file, bucket, dryRun);
    const { by = "library" } = options;
    const history = await repairHistory(file, bucket, { by, dryRun, signal });
    if (!dryRun) forgetHistoryOrigin(file.db);
    const { path, held } = file;
    return {
      version: 1 as const,
      dryRun,
      db: path,
      bucket: bucket.name,
      position: held.position,
      updatedAt: new Date(held.updatedAt).toISOString(),
      changes,
      kept,
      history,
    };
  });
  if (dryRun) return report;
  await using follower = await followStore({ nats, db, accept: true, signal });
  await follower.whenExact(undefined, { signal });
  return report;
}

async function withFile<T>(
  { db, nats, signal }: RepairOptions,
  work: (file: StillFile, bucket: Bucket) => Promise<T>,
): Promise<T> {
  using file = openStill(db);
  const { path, held } = file;
  const refuse = (field: string, found: string, hint: string): never => {
    throw new StoreError("refused", `Repairing from ${path}: ${found}`, { field, hint });
  };
  if (!held.exact) {
    refuse(
      "position",
      `it is not exact at position ${held.position}: it may lack a part of a transaction`,
      "use the follower of another node",
    );
  }
  checkFile(file.db, path, held);
  const { bucket, end } = await openBucket({
    ...nats,
    create: false,
    resize: false,
    ...signal && { signal },
  });
  try {
    if (bucket.name !== held.bucket) {
      refuse("bucket", `it follows bucket ${held.bucket}, not ${bucket.name}`, "check --bucket");
    }
    return await work(file, bucket);
  } finally {
    await end();
  }
}

/** Compares, and refuses where the file cannot say what is right. */
async function compare(
  file: StillFile,
  bucket: Bucket,
  { force = false, dryRun = false, signal }: RepairOptions,
): Promise<Found> {
  const { held, path } = file;
  const found = await findDifferences(bucket, file, signal);
  const attempt = `Repairing bucket ${bucket.name} from ${path}`;
  const own = found.kept + found.differences.filter(({ revision }) => revision > 0).length;
  if (bucket.created !== held.created && own > 0) {
    throw new StoreError(
      "refused",
      `${attempt}: it was deleted and created again, and holds ${
        counted(own, "key")
      } that the file does not know`,
      { field: "created", hint: "take it as it is with membershipd repair --accept" },
    );
  }
  const isMissing = found.differences.some(({ revision }) => revision === 0);
  const isOld = bucket.created === held.created && Date.now() - held.updatedAt > REMEMBERED;
  if (isOld && isMissing && !force && !dryRun) {
    throw new StoreError(
      "refused",
      `${attempt}: the file ends at ${new Date(held.updatedAt).toISOString()}; what was deleted ` +
        "since could come back, because the stream forgets a deletion after a day",
      { field: "updatedAt", hint: "look at the list of --dry-run, then use --force" },
    );
  }
  return found;
}

/**
 * Writes back the mark of a move: a client refuses a generation that is lower than it has seen. A bucket that
 * was created again counts from 1 again, so its generation is a new one. Returns the generation.
 */
async function restoreMarker(
  { db, held }: StillFile,
  bucket: Bucket,
  dryRun: boolean,
): Promise<number> {
  const kept = keptMarker(db);
  const { marker, revision } = await readMarker(bucket, Date.now() + PATIENCE);
  const found = marker?.generation ?? 0;
  const generation = keptGeneration(db) + (bucket.created === held.created ? 0 : 1);
  const isThere = found >= generation && (marker !== null || kept?.state !== "complete");
  if (dryRun || marker?.state === "in_progress" || isThere) return found;
  const now = new Date().toISOString();
  const blank: Marker = {
    ...{ state: "complete", by: "import", source: null, startedAt: now, completedAt: now },
  };
  const base = kept?.state === "complete" ? kept : blank;
  await writeMarker(bucket, { ...base, generation }, revision, Date.now() + PATIENCE);
  return generation;
}

/** Writes, in batches on the condition that nobody wrote the keys meanwhile; the next comparison tells. */
async function writeBack(
  { db, path }: StillFile,
  bucket: Bucket,
  differences: Difference[],
  { signal, onProgress }: RepairOptions,
): Promise<void> {
  const valueOf = valuesOf(path, db);
  for (let from = 0; from < differences.length; from += BATCH_LIMIT) {
    signal?.throwIfAborted();
    const part = differences.slice(from, from + BATCH_LIMIT);
    const writes = part.map(({ key, change, revision }): Write => ({
      key,
      value: change === "delete" ? null : valueOf(key)!.read(),
      expect: revision,
    }));
    try {
      await bucket.commit(writes, Date.now() + PATIENCE, { signal });
    } catch (error) {
      if (!(error instanceof WrongRevision)) throw error;
    }
    onProgress?.(from + part.length, differences.length);
  }
}
