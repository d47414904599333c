/**
 * The migration from a JetStream bucket back to a SQLite file.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { StoreError } from "../core/errors.ts";
import { validRecords } from "../core/checks/integrity.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import { compare } from "../jetstream/contents/compare.ts";
import { isWrittenSince } from "../jetstream/log/fence.ts";
import { refuseInUse } from "../jetstream/in_use.ts";
import { type Marker, readMarker, refuseInProgress } from "../jetstream/log/marker.ts";
import { isAside } from "../jetstream/records/keys.ts";
import { openBucket } from "../jetstream/mod.ts";
import { BucketRecords } from "../jetstream/contents/stored.ts";
import { streamInfo } from "../jetstream/log/stream.ts";
import type { Counts, StoreRecord } from "../core/model.ts";
import { noCounts } from "../core/order.ts";
import { Problems } from "../core/checks/problems.ts";
import { SnapshotDigest } from "../snapshot/mod.ts";
import { openSource } from "../sqlite/file/source.ts";
import { createTarget } from "../sqlite/file/target.ts";
import { type Becomes, takeFollower } from "./from_follower.ts";
import { copyToTable } from "./history/to_table.ts";
import { clearLeftovers, partialOf, putInPlace, removeFile } from "./place.ts";
import { digestsOf, refuseInvalid, soon, Steps } from "./steps.ts";
import type { KvToSqliteOptions, MoveReport, TargetState } from "./types.ts";

/** Key in the file's `meta` table: digest of all records that this migration wrote. */
const WRITTEN = "moved_back_digest";

/** The file at the target's path. */
interface Existing {
  state: TargetState;
  storeId: string | null;
}

/**
 * Migrates a control plane from a JetStream bucket back to a SQLite file. The bucket is only read. The
 * new file is written beside the target, compared with the bucket record by record, and then renamed. So
 * the path always names a complete file, or none if there was none before. Files that a killed run leaves
 * are removed by the next run, and until then `openSqlite` does not create a file there.
 *
 * An existing file is kept under another name. It is `refused`, unless `replace` is set, if it has
 * records that would be lost: if it is another control plane, or was changed after its migration.
 *
 * @param options The bucket, the file, and how to migrate
 * @returns A report with counts, digests and times
 * @throws {StoreError} `refused`: the bucket is in use or has invalid records (`problems` lists them), or
 * the file has other or newer records; `in_progress`: a migration into the bucket is not complete;
 * `not_found`: no such bucket; `conflict`: the bucket was written during the migration; `mismatch`: the
 * verification failed; `unavailable`; `aborted`
 *
 * @example
 * ```ts ignore
 * import { migrateKvToSqlite } from "@unibus/membership";
 *
 * const report = await migrateKvToSqlite({
 *   nats: { servers: "nats://127.0.0.1:4222" },
 *   db: "./local_files/unibus.db",
 * });
 * console.log(report.counts, report.digests);
 * ```
 */
export async function migrateKvToSqlite(options: KvToSqliteOptions): Promise<MoveReport> {
  const { signal, dryRun = false } = options;
  const steps = new Steps(options);
  steps.begin("preflight", 0);
  const { bucket, info, end } = await openBucket({
    ...options.nats,
    create: false,
    signal: signal ?? options.nats.signal,
  });
  try {
    await refuseInUse(bucket, soon());
    const read = await readMarker(bucket, soon());
    refuseInProgress(bucket, read);
    const path = resolve(options.db);
    const found = inspect(path, read.marker, options.replace === true);
    const report: MoveReport = {
      version: 1,
      direction: "kv-to-sqlite",
      dryRun,
      db: path,
      bucket: bucket.name,
      replicas: info.config.num_replicas,
      target: found.state,
      backup: null,
      saved: null,
      counts: noCounts(),
      digests: null,
      history: null,
      written: 0,
      removed: 0,
      sequence: info.state.last_seq,
      seconds: steps.seconds,
    };
    // The bucket counts entries, not records. It is an upper bound, because a member has two entries.
    const guess = info.state.messages;
    if (dryRun) {
      report.counts = await countRecords(bucket, signal);
    } else {
      const partial = partialOf(path);
      clearLeftovers(path);
      const storeId = found.storeId ?? read.marker?.source ?? undefined;
      try {
        const generation = (read.marker?.generation ?? 0) + 1;
        const { by = "library" } = options;
        const becomes = { storeId, generation, digestKey: WRITTEN, by };
        const { follower } = options;
        if (follower === undefined) {
          await fill(bucket, partial, becomes, report, guess, steps, options);
          await verify(bucket, partial, report, steps, signal);
        } else {
          const given = { ...options, follower };
          const taken = await takeFollower(bucket, given, partial, becomes, steps);
          report.counts = taken.summary.counts;
          report.digests = digestsOf(taken.summary);
          // Made a primary by a run that was killed: the bucket may have changed since.
          if (taken.position === null) await verify(bucket, partial, report, steps, signal);
          else await requireUnchanged(bucket, taken.position);
        }
        steps.check();
        report.backup = putInPlace(path);
      } catch (error) {
        removeFile(partial);
        throw error;
      }
    }
    steps.finish(Object.values(report.counts).reduce((a, b) => a + b));
    return report;
  } finally {
    await end();
  }
}

/**
 * Decides whether an existing file may be replaced.
 *
 * @throws {StoreError} `refused`: it may not
 */
function inspect(path: string, marker: Marker | null, replace: boolean): Existing {
  if (!existsSync(path)) return { state: "absent", storeId: null };
  using file = openSource(path);
  const { storeId } = file;
  if (replace) return { state: "replaced", storeId: marker?.source ?? storeId };
  if (marker?.source !== undefined && marker.source !== null && marker.source !== storeId) {
    throw new StoreError(
      "refused",
      `${path} is not the control plane in the bucket; replace overrides, and keeps the file under another name`,
      { field: "replace" },
    );
  }
  const digest = new SnapshotDigest();
  for (const record of file.records()) digest.add(record);
  const { digest: now, counts } = digest.summary();
  const known = [file.getMeta(WRITTEN), marker?.digests?.all];
  if (known.includes(now)) return { state: "repeated", storeId };
  if (Object.values(counts).every((count) => count === 0)) return { state: "empty", storeId };
  throw new StoreError(
    "refused",
    `${path} was changed after its migration, or never migrated; replace overrides, and keeps the file under another name`,
    { field: "replace" },
  );
}

async function countRecords(bucket: Bucket, signal?: AbortSignal): Promise<Counts> {
  const counts = noCounts();
  const problems = new Problems();
  using stored = await BucketRecords.read(bucket, signal);
  for (const { kind } of validRecords(stored, problems)) counts[kind]++;
  refuseInvalid(problems, `bucket ${bucket.name}`);
  return counts;
}

async function fill(
  bucket: Bucket,
  partial: string,
  { storeId, generation, by }: Becomes,
  report: MoveReport,
  guess: number,
  steps: Steps,
  { history = true, signal }: KvToSqliteOptions,
): Promise<void> {
  steps.begin("copy", guess);
  using target = createTarget(partial, {
    generation,
    ...(storeId === undefined ? {} : { storeId }),
  });
  const digest = new SnapshotDigest();
  async function* observed(): AsyncGenerator<StoreRecord> {
    let done = 0;
    const problems = new Problems();
    using stored = await BucketRecords.read(bucket, signal);
    for (const record of validRecords(stored, problems)) {
      // After the first problem, only further problems are collected.
      if (problems.total > 0) continue;
      digest.add(record);
      yield record;
      if (++done % 1000 !== 0) continue;
      steps.check();
      steps.report(done, guess);
      await setImmediate();
    }
    refuseInvalid(problems, `bucket ${bucket.name}`);
  }
  report.counts = await target.insertAll(observed());
  report.written = Object.values(report.counts).reduce((a, b) => a + b);
  const summary = digest.summary();
  report.digests = digestsOf(summary);
  target.setMeta(WRITTEN, summary.digest);
  if (history) report.history = await copyToTable(bucket, target, { by, signal });
  target.close();
  steps.report(guess, guess);
}

/** Reads the new file again and compares it with the bucket, which must not have changed. */
async function verify(
  bucket: Bucket,
  partial: string,
  report: MoveReport,
  steps: Steps,
  signal?: AbortSignal,
): Promise<void> {
  const total = report.written;
  steps.begin("verify", total);
  using file = openSource(partial);
  let digest = new SnapshotDigest();
  const found: string[] = [];
  const diffs = compare(bucket, () => file.records(), {
    signal,
    observe: () => {
      digest = new SnapshotDigest();
      let seen = 0;
      return (record) => {
        digest.add(record);
        if (++seen % 1000 === 0) steps.report(seen, total);
      };
    },
  });
  for await (const { change, key } of diffs) {
    // A bucket that version 0.1 wrote has no index of admins, and none goes to the file.
    if (isAside(key)) continue;
    if (found.push(`${change} ${key}`) >= 5) break;
  }
  await requireUnchanged(bucket, report.sequence);
  if (found.length > 0 || digest.summary().digest !== report.digests?.all) {
    throw new StoreError("mismatch", `Verification found differences: ${found.join(", ")}`);
  }
}

/** `conflict` when the bucket was written after a sequence. */
async function requireUnchanged(bucket: Bucket, sequence: number): Promise<void> {
  const last = (await streamInfo(bucket, soon()))?.state.last_seq ?? 0;
  if (last >= sequence && !await isWrittenSince(bucket, { sequence }, soon())) return;
  throw new StoreError(
    "conflict",
    `Bucket ${bucket.name} was written during the migration`,
    { hint: "stop the servers, then run the migration again" },
  );
}
