/**
 * The migration from a SQLite file to a JetStream bucket.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { applyDiffs } from "../jetstream/backend.ts";
import { type BulkOptions, BulkWriter } from "../jetstream/log/bulk.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import { markFilled } from "../jetstream/cache/admins.ts";
import { compare, type Diff } from "../jetstream/contents/compare.ts";
import { isWrittenSince } from "../jetstream/log/fence.ts";
import { guardOf, writeMarker } from "../jetstream/log/marker.ts";
import { streamInfo } from "../jetstream/log/stream.ts";
import { entriesOf } from "../jetstream/records/values.ts";
import type { Counts } from "../core/model.ts";
import { counted } from "../core/text/counted.ts";
import { SnapshotDigest, type SnapshotSummary } from "../snapshot/mod.ts";
import { checkBackup } from "../sqlite/file/backup.ts";
import { openSource, type SqliteSource } from "../sqlite/file/source.ts";
import { type Claim, claimTarget, noteMove } from "./claim.ts";
import { ArchiveCopy, endOf } from "./history/to_archive.ts";
import { digestsOf, requireValid, soon, stamp, Steps } from "./steps.ts";
import { judge, openTarget, type Plan } from "./target.ts";
import type { MoveReport, SqliteToKvOptions } from "./types.ts";

/**
 * Migrates a control plane from a SQLite file to a JetStream bucket: checks both sides, backs up the
 * file, marks the bucket as in progress, copies, reads back every record, and marks the bucket as
 * complete. The file's records are not changed. At the end the file records where its control plane has
 * moved, and is no longer opened for writing. Records that the file does not have are removed from the
 * bucket.
 *
 * If the migration is killed or aborted, run it again to continue. If it has completed, running it again
 * compares everything, changes nothing and makes no backup, unless `backup` is a path.
 *
 * The target must be empty, or contain what an earlier run of the same migration wrote and nothing has
 * changed since. Anything else is `refused`, or with `replace` saved to a snapshot file and overwritten.
 *
 * @param options The file, the servers, and how to migrate
 * @returns A report with counts, digests and times
 * @throws {StoreError} `refused`: the source is in use or has invalid records (`problems` lists them), or
 * the target has other or newer records; `not_found`, `corrupt`, `unsupported`: the source cannot be
 * read; `unavailable`: the server does not respond, or the disk is full; `mismatch`: the verification
 * failed; `conflict`: another program has written to the target; `aborted`; `invalid`
 *
 * @example
 * ```ts ignore
 * import { migrateSqliteToKv } from "@unibus/membership";
 *
 * const report = await migrateSqliteToKv({
 *   db: "./local_files/unibus.db",
 *   nats: { servers: "nats://127.0.0.1:4222" },
 *   onProgress: ({ phase, done, total }) => console.log(phase, done, "of", total),
 * });
 * console.log(report.counts, report.digests, report.backup);
 * ```
 */
export async function migrateSqliteToKv(options: SqliteToKvOptions): Promise<MoveReport> {
  const steps = new Steps(options);
  steps.begin("preflight", 0);
  using source = openSource(options.db);
  const counts = source.counts();
  const total = Object.values(counts).reduce((a, b) => a + b);
  await requireValid(source.stored, source.path, total, steps);
  const target = await openTarget(options);
  try {
    const plan: Plan = target === null
      ? { state: "absent", occupied: false, read: { marker: null, revision: 0 }, sequence: 0 }
      : await judge(target, source, options);
    const report: MoveReport = {
      version: 1,
      direction: "sqlite-to-kv",
      dryRun: options.dryRun === true,
      db: source.path,
      bucket: target?.bucket.name ?? options.nats.bucket ?? "UNIBUS",
      replicas: target?.info.config.num_replicas ?? options.replicas ?? 1,
      target: plan.state,
      backup: null,
      saved: null,
      counts,
      digests: null,
      history: null,
      written: 0,
      removed: 0,
      sequence: target?.info.state.last_seq ?? 0,
      seconds: steps.seconds,
    };
    if (target === null || report.dryRun) {
      steps.finish(total);
      return report;
    }
    const { bucket } = target;
    const generation = generationAfter(source, plan);
    const work = { bucket, source, generation, total, steps, signal: options.signal };
    // A backup that was asked for is made.
    const isDone = plan.state === "repeated" && typeof options.backup !== "string" &&
      await isComplete(work, report, options);
    if (!isDone) {
      report.backup = await backUp(source, counts, total, steps, options);
      await move(work, plan, report, options);
    }
    noteMove(source, bucket, options.nats, generation);
    steps.finish(total);
    return report;
  } finally {
    await target?.end();
  }
}

/** Compares all with what an earlier run has moved; returns whether nothing is left to do. */
async function isComplete(
  work: Work,
  report: MoveReport,
  { history = true }: SqliteToKvOptions,
): Promise<boolean> {
  const { bucket, source, total, steps, signal } = work;
  steps.begin("verify", total);
  let digest = new SnapshotDigest();
  for await (const _ of differences(work, () => digest = new SnapshotDigest())) return false;
  if (history && source.history !== null) {
    if (!await ArchiveCopy.isWhole(bucket, source.history, signal)) return false;
    report.history = { written: 0, ...endOf(source.history.end()) };
  }
  report.digests = digestsOf(digest.summary());
  return true;
}

async function backUp(
  source: SqliteSource,
  counts: Counts,
  total: number,
  steps: Steps,
  { backup = true }: SqliteToKvOptions,
): Promise<string | null> {
  if (backup === false) return null;
  steps.begin("backup", total);
  const path = typeof backup === "string" ? backup : `${source.path}.backup-${stamp()}`;
  await source.backupTo(path);
  checkBackup(path, { storeId: source.storeId, counts });
  steps.report(total, total);
  return path;
}

/** What the phases after the backup work with. */
interface Work {
  bucket: Bucket;
  source: SqliteSource;
  /** The generation of the control plane in the bucket. */
  generation: number;
  /** Number of records in the source. */
  total: number;
  steps: Steps;
  signal: AbortSignal | undefined;
}

async function move(
  work: Work,
  plan: Plan,
  report: MoveReport,
  { history = true, by = "library", replace = false }: SqliteToKvOptions,
): Promise<void> {
  const { bucket, source, generation, steps, signal } = work;
  steps.check();
  const { storeId, path } = source;
  const claim = await claimTarget(bucket, plan, {
    source: storeId,
    path,
    generation,
    signal,
  });
  report.saved = claim.marker.saved ?? null;
  const { guard } = guardOf(claim.revision);
  const filled = await markFilled(bucket, claim.marker, guard, soon());
  // What nobody has written to since is of use only as far as it is this file's.
  const isOurs = ["resumed", "repeated"].includes(plan.state);
  const copy = history && source.history !== null
    ? await ArchiveCopy.begin(bucket, source.history, {
      mark: claim.revision,
      isOurs,
      replace: replace || isOurs,
      signal,
    })
    : null;
  const begun = copy === null ? filled : await lastSequence(bucket);
  const written = await (plan.occupied ? update : fill)(work, { signal, guard }, report) ?? begun;
  if (copy !== null) {
    const { left } = copy;
    if (left > 0) steps.begin("history", left);
    await copy.all((done) => left > 0 && steps.report(done, left));
    report.history = { written: copy.written, ...await copy.verify() };
  }
  steps.check();
  await complete(bucket, claim, written, report, copy?.entry(by, generation));
}

/** Copies to an empty bucket and verifies the copy. Returns the stream's last sequence in between. */
async function fill(work: Work, bulk: BulkOptions, report: MoveReport): Promise<number> {
  const { bucket, total, steps } = work;
  steps.begin("copy", total);
  const { written, summary } = await copy(work, bulk);
  report.written = written;
  report.digests = digestsOf(summary);
  const last = await lastSequence(bucket);
  steps.begin("verify", total);
  await demandNone(differences(work, null));
  return last;
}

/**
 * Writes what differs to a bucket with records and verifies it. If nothing differs, the comparison was
 * the verification. Returns the stream's last sequence in between, or `null` if nothing was written.
 */
async function update(work: Work, bulk: BulkOptions, report: MoveReport): Promise<number | null> {
  const { bucket, total, steps } = work;
  steps.begin("verify", total);
  let digest = new SnapshotDigest();
  const begin = () => digest = new SnapshotDigest();
  const { written, removed } = await applyDiffs(bucket, () => differences(work, begin), {
    ...bulk,
    onFirst: () => steps.begin("copy", total),
    onProgress: (done) => steps.report(done, total),
  });
  Object.assign(report, { written, removed });
  let last: number | null = null;
  if (written + removed > 0) {
    last = await lastSequence(bucket);
    steps.begin("verify", total);
    await demandNone(differences(work, begin));
  }
  report.digests = digestsOf(digest.summary());
  return last;
}

async function lastSequence(bucket: Bucket): Promise<number> {
  return (await streamInfo(bucket, soon()))?.state.last_seq ?? 0;
}

/** Marks the bucket as complete, unless another program has written to it after `last`. */
async function complete(
  bucket: Bucket,
  { marker, revision }: Claim,
  last: number,
  report: MoveReport,
  entry: string | undefined,
): Promise<void> {
  const { counts, digests } = report;
  const completedAt = new Date().toISOString();
  report.sequence = await writeMarker(
    bucket,
    { ...marker, state: "complete", completedAt, counts, digests: digests!, sequence: last },
    revision,
    soon(),
    entry,
  );
  const between = { sequence: last, until: report.sequence };
  if (report.sequence !== last + 1 && await isWrittenSince(bucket, between, soon())) {
    await writeMarker(bucket, marker, report.sequence, soon());
    throw new StoreError(
      "conflict",
      `Bucket ${bucket.name} was written by another program during the migration`,
      { hint: "stop that program, then run the migration again" },
    );
  }
}

async function copy(
  { bucket, source, total, steps }: Work,
  bulk: BulkOptions,
): Promise<{ written: number; summary: SnapshotSummary }> {
  const writer = new BulkWriter(bucket, bulk);
  // Computed here and not while verifying, because here the server is the slower side.
  const digest = new SnapshotDigest();
  let written = 0;
  for (const record of source.records()) {
    digest.add(record);
    // Only the first entry of a record counts as one.
    let weight = 1;
    for (const [key, value] of entriesOf(record)) {
      written++;
      const wait = writer.write(key, value, weight);
      weight = 0;
      if (wait === undefined) continue;
      await wait;
      steps.report(writer.done, total);
    }
  }
  await writer.flush();
  steps.report(total, total);
  return { written, summary: digest.summary() };
}

/** Compares the file with the bucket; `begin` returns the digest to compute at the same time. */
function differences(
  { bucket, source, total, steps, signal }: Work,
  begin: (() => SnapshotDigest) | null,
): AsyncGenerator<Diff> {
  return compare(bucket, () => source.records(), {
    signal,
    observe: () => {
      const digest = begin?.();
      let seen = 0;
      return (record) => {
        digest?.add(record);
        // While differences are written, the writing reports the progress.
        if (++seen % 1000 === 0 && steps.phase === "verify") steps.report(seen, total);
      };
    },
  });
}

async function demandNone(diffs: AsyncGenerator<Diff>): Promise<void> {
  const found: string[] = [];
  let count = 0;
  for await (const diff of diffs) {
    count++;
    if (found.length < 5) found.push(`${diff.change} ${diff.key}`);
  }
  if (count > 0) {
    throw new StoreError(
      "mismatch",
      `Verification found ${counted(count, "difference")}: ${found.join(", ")}${
        count > 5 ? ", …" : ""
      }`,
    );
  }
}

/** The generation of the bucket: one more than the file's, unless this move has brought it already. */
function generationAfter(source: SqliteSource, { state, read }: Plan): number {
  const { role, generation } = source.role;
  const before = state === "repeated" ? read.marker?.generation ?? 0 : 0;
  return Math.max(before, role === "moved" ? generation : generation + 1);
}
