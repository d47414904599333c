/**
 * The move from a SQLite file to a JetStream bucket.
 *
 * @module
 */

import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { StoreError } from "../errors.ts";
import { applyDiffs, isEmpty } from "../jetstream/backend.ts";
import { type BulkOptions, BulkWriter } from "../jetstream/bulk.ts";
import type { Bucket } from "../jetstream/bucket.ts";
import { compare, type Diff } from "../jetstream/compare.ts";
import { isWrittenSince } from "../jetstream/fence.ts";
import {
  guardOf,
  type Marker,
  type ReadMarker,
  readMarker,
  writeMarker,
} from "../jetstream/marker.ts";
import { type OpenBucket, openBucket } from "../jetstream/mod.ts";
import { streamInfo } from "../jetstream/stream.ts";
import { entriesOf } from "../jetstream/values.ts";
import type { Counts } from "../model.ts";
import { exportSnapshot, SnapshotDigest, type SnapshotSummary } from "../snapshot/mod.ts";
import { checkBackup } from "../sqlite/backup.ts";
import { openSource, type SqliteSource } from "../sqlite/source.ts";
import { noteMove } from "./note.ts";
import { digestsOf, reader, soon, stamp, Steps } from "./steps.ts";
import type { MoveReport, SqliteToKvOptions, TargetState } from "./types.ts";

/** What the preflight found. */
interface Plan {
  state: TargetState;
  /** The target holds records; they are compared instead of written blindly. */
  occupied: boolean;
  marker: ReadMarker;
}

/**
 * Moves a control plane from a SQLite file to a JetStream bucket: checked before, backed up, marked
 * while it runs, copied, read back record by record, marked complete. The file's records are not
 * changed; in the end it notes where they went, and is no longer opened for writing.
 * Killed or aborted, it is continued by running it again; run again after it completed, it changes
 * nothing. What the file does not have is removed from the bucket.
 *
 * The target must be empty, or hold what an earlier run of this very move left and nobody has written
 * since; anything else is `refused` unless `replace` is set, and then saved to a snapshot file first.
 *
 * @param options The file, the servers, how to go about it
 * @returns What was done, with counts, digests and seconds
 * @throws {StoreError} `refused` (source in use, target not ours or written since), `not_found`,
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
  const target = await openTarget(options);
  try {
    const plan: Plan = target === null
      ? { state: "absent", occupied: false, marker: { marker: null, revision: 0 } }
      : await judge(target.bucket, source, options.replace === true, options.signal);
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
    report.backup = backUp(source, counts, total, steps, options);
    if (plan.state === "replaced") {
      report.saved = `${source.path}.replaced-${stamp()}.ndjson`;
      await save(target.bucket, report.saved, options.signal);
    }
    await move(target.bucket, source, plan, report, steps, options);
    noteMove(source, target.bucket, options.nats);
    steps.finish(total);
    return report;
  } finally {
    await target?.end();
  }
}

/** The bucket, made when it is not there; `null` in a dry run when it is not. */
async function openTarget(options: SqliteToKvOptions): Promise<OpenBucket | null> {
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
async function judge(
  bucket: Bucket,
  source: SqliteSource,
  replace: boolean,
  signal?: AbortSignal,
): Promise<Plan> {
  const read = await readMarker(bucket, soon());
  const { marker } = read;
  const occupied = !await isEmpty(bucket, signal);
  const ours = marker?.by === "migration" && marker.source === source.storeId;
  const plan = (state: TargetState): Plan => ({ state, occupied, marker: read });
  if (ours && marker.state === "in_progress") return plan("resumed");
  if (ours && marker.state === "complete") {
    if (!await isChanged(bucket, marker, read.revision, signal)) return plan("repeated");
  } else if (!occupied) return plan("empty");
  if (replace) return plan("replaced");
  throw new StoreError(
    "refused",
    `Bucket ${bucket.name} ${reason(marker, ours)}; replace overrides, after saving it to a file`,
  );
}

/** Whether the bucket was written since a move into it completed. */
async function isChanged(
  bucket: Bucket,
  marker: Marker,
  revision: number,
  signal?: AbortSignal,
): Promise<boolean> {
  // The mark was the last thing that the move wrote.
  const info = await streamInfo(bucket, soon());
  if (info?.state.last_seq === revision) return false;
  if (await isWrittenSince(bucket, { sequence: revision }, soon())) return true;
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

function backUp(
  source: SqliteSource,
  counts: Counts,
  total: number,
  steps: Steps,
  { backup = true }: SqliteToKvOptions,
): string | null {
  if (backup === false) return null;
  steps.begin("backup", total);
  const path = typeof backup === "string" ? backup : `${source.path}.backup-${stamp()}`;
  source.backupTo(path);
  checkBackup(path, { storeId: source.storeId, counts });
  steps.tell(total, total);
  return path;
}

/** Saves what the bucket holds before it is replaced. */
async function save(bucket: Bucket, path: string, signal?: AbortSignal): Promise<void> {
  const backend = reader(bucket);
  const records = (options?: { signal?: AbortSignal }) => backend.records(options?.signal);
  const stream = exportSnapshot({ records }, { signal });
  try {
    await pipeline(
      Readable.fromWeb(stream as Parameters<typeof Readable.fromWeb>[0]),
      createWriteStream(path, { flags: "wx", mode: 0o600, flush: true }),
    );
  } catch (error) {
    await rm(path, { force: true });
    if (error instanceof StoreError) throw error;
    throw new StoreError("unavailable", `Saving bucket ${bucket.name} to ${path} failed`, {
      cause: error,
    });
  }
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
  const marker: Marker = {
    state: "in_progress",
    by: "migration",
    source: source.storeId,
    startedAt: new Date().toISOString(),
  };
  steps.check();
  let revision = await writeMarker(bucket, marker, plan.marker.revision, soon());

  const guard = guardOf(bucket, revision);
  /** Where the stream must still end after the verification: else somebody else wrote. */
  let last = revision;
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
