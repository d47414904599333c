/**
 * The move from a SQLite file to a JetStream bucket.
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
import { SnapshotDigest, type SnapshotSummary } from "../snapshot/mod.ts";
import { checkBackup } from "../sqlite/file/backup.ts";
import { openSource, type SqliteSource } from "../sqlite/file/source.ts";
import { claimTarget } from "./claim.ts";
import { noteMove } from "./note.ts";
import { digestsOf, soon, stamp, Steps } from "./steps.ts";
import { judge, openTarget, type Plan } from "./target.ts";
import type { MoveReport, SqliteToKvOptions } from "./types.ts";
import { requireValid } from "./valid.ts";

/**
 * Moves a control plane from a SQLite file to a JetStream bucket: checked before, backed up, marked
 * while it runs, copied, read back record by record, marked complete. The file's records are not
 * changed; in the end it notes where they went, and is no longer opened for writing.
 * Killed or aborted, it is continued by running it again; run again after it completed, it changes
 * nothing. What the file does not have is removed from the bucket.
 *
 * The target must be empty, or hold what an earlier run of this very move left and nobody has written
 * since; anything else is `refused` unless `replace` is set, and then saved to a snapshot file before
 * it is overwritten. `conflict` when it is written between the check and the mark.
 *
 * @param options The file, the servers, how to go about it
 * @returns What was done, with counts, digests and seconds
 * @throws {StoreError} `refused` (source in use, invalid records in it, which `problems` lists, target not
 * ours or written since), `not_found`,
 * `corrupt` or `unsupported` (source), `unavailable` (server, disk full), `mismatch` (verification),
 * `conflict` (somebody else wrote into the target meanwhile), `aborted`, `invalid`
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
      written: 0,
      removed: 0,
      sequence: target?.info.state.last_seq ?? 0,
      seconds: steps.seconds,
    };
    if (target === null || report.dryRun) {
      steps.finish(total);
      return report;
    }
    report.backup = await backUp(source, counts, total, steps, options);
    await move(target.bucket, source, plan, report, steps, options);
    noteMove(source, target.bucket, options.nats);
    steps.finish(total);
    return report;
  } finally {
    await target?.end();
  }
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
  steps.tell(total, total);
  return path;
}

async function move(
  bucket: Bucket,
  source: SqliteSource,
  plan: Plan,
  report: MoveReport,
  steps: Steps,
  { signal }: SqliteToKvOptions,
): Promise<void> {
  const total = Object.values(report.counts).reduce((a, b) => a + b);
  steps.check();
  const { storeId, path } = source;
  let { marker, revision } = await claimTarget(bucket, plan, { source: storeId, path, signal });
  report.saved = marker.saved ?? null;

  const guard = guardOf(revision);
  /** Where the stream must still end after the verification: else somebody else wrote. */
  let last = await markFilled(bucket, marker, guard.guard, soon());
  const lastSequence = async () => (await streamInfo(bucket, soon()))?.state.last_seq ?? 0;
  let summary: SnapshotSummary;
  if (!plan.occupied) {
    steps.begin("copy", total);
    const copied = await copy(bucket, source, total, steps, { signal, ...guard });
    report.written = copied.written;
    last = await lastSequence();
    steps.begin("verify", total);
    await demandNone(verifying(bucket, source, total, steps, null, signal));
    summary = copied.summary;
  } else {
    // Comparing tells what to write; when that is nothing, it was the verification as well.
    steps.begin("verify", total);
    let digest = new SnapshotDigest();
    const begin = () => digest = new SnapshotDigest();
    const diffs = () => verifying(bucket, source, total, steps, begin, signal);
    const done = await applyDiffs(bucket, diffs, {
      signal,
      ...guard,
      onFirst: () => steps.begin("copy", total),
      onProgress: (written) => steps.tell(written, total),
    });
    report.written = done.written;
    report.removed = done.removed;
    if (done.written + done.removed > 0) {
      last = await lastSequence();
      steps.begin("verify", total);
      await demandNone(diffs());
    }
    summary = digest.summary();
  }

  steps.check();
  const digests = digestsOf(summary);
  revision = await writeMarker(
    bucket,
    {
      ...marker,
      state: "complete",
      completedAt: new Date().toISOString(),
      counts: summary.counts,
      digests,
      sequence: last,
    },
    revision,
    soon(),
  );
  const between = { sequence: last, until: revision };
  if (revision !== last + 1 && await isWrittenSince(bucket, between, soon())) {
    await writeMarker(bucket, marker, revision, soon());
    throw new StoreError(
      "conflict",
      `Somebody else writes into bucket ${bucket.name}; stop that, and run the move again`,
    );
  }
  report.digests = digests;
  report.sequence = revision;
}

async function copy(
  bucket: Bucket,
  source: SqliteSource,
  total: number,
  steps: Steps,
  bulk: BulkOptions,
): Promise<{ written: number; summary: SnapshotSummary }> {
  const writer = new BulkWriter(bucket, bulk);
  // Here and not while verifying: here there is time, because the server is the slower side.
  const digest = new SnapshotDigest();
  let written = 0;
  for (const it of source.records()) {
    digest.add(it);
    // Only a record's first entry counts as one.
    let weight = 1;
    for (const [key, value] of entriesOf(it)) {
      written++;
      const wait = writer.write(key, value, weight);
      weight = 0;
      if (wait === undefined) continue;
      await wait;
      steps.tell(writer.done, total);
    }
  }
  await writer.flush();
  steps.tell(total, total);
  return { written, summary: digest.summary() };
}

/** What differs between the file and the bucket; `begin` gives the digest to compute on the way. */
function verifying(
  bucket: Bucket,
  source: SqliteSource,
  total: number,
  steps: Steps,
  begin: (() => SnapshotDigest) | null,
  signal?: AbortSignal,
): AsyncGenerator<Diff> {
  return compare(bucket, () => source.records(), {
    signal,
    observe: () => {
      const digest = begin?.();
      let seen = 0;
      return (it) => {
        digest?.add(it);
        // What is missing is read on while it is written: then the writing tells.
        if (++seen % 1000 === 0 && steps.phase === "verify") steps.tell(seen, total);
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
      `Verification found ${count} differences: ${found.join(", ")}${count > 5 ? ", …" : ""}`,
    );
  }
}
