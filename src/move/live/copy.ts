/**
 * Copies a file that others write to into a bucket, and verifies the copy.
 *
 * @module
 */

import { validRecords } from "../../core/checks/integrity.ts";
import { Problems } from "../../core/checks/problems.ts";
import { StoreError } from "../../core/errors.ts";
import { BATCH_LIMIT } from "../../jetstream/log/bucket.ts";
import { compare, type CompareOptions } from "../../jetstream/contents/compare.ts";
import { streamInfo } from "../../jetstream/log/stream.ts";
import type { StoreRecord } from "../../core/model.ts";
import { SnapshotDigest, type SnapshotSummary } from "../../snapshot/mod.ts";
import { presentRecords, snapshotOf } from "../../sqlite/file/journey/snapshot.ts";
import { refuseInvalid, soon } from "../steps.ts";
import { wantedOf } from "./entries.ts";
import type { Run } from "./run.ts";

/** Comparisons until there is no difference. */
const TRIES = 3;

/** Copies what the bucket lacks, as the file is while it is read. */
export async function copy(run: Run): Promise<void> {
  run.begin("copy");
  await writeDifferences(run, () => presentRecords(run.file.path));
  await run.history?.all(() => run.report());
  await run.catchUp();
}

/**
 * Compares all of the bucket with the file as of one moment.
 *
 * @throws {StoreError} `refused`: records are invalid; `mismatch`
 */
export async function verify(run: Run): Promise<SnapshotSummary> {
  run.begin("verify");
  for (let tries = 1; tries <= TRIES; tries++) {
    await run.catchUp();
    using file = snapshotOf(run.file.path);
    const { notes } = file;
    // As of the moment of the snapshot, so that the bucket is equal to it.
    await run.write(run.entriesOf(wantedOf(notes, file.get)));
    const { last_seq } = (await streamInfo(run.bucket, soon()))!.state;
    let digest = new SnapshotDigest();
    let problems = new Problems();
    const found = await writeDifferences(run, () => {
      digest = new SnapshotDigest();
      problems = new Problems();
      return validRecords(file.stored, problems);
    }, (record) => digest.add(record));
    refuseInvalid(problems, run.file.path);
    if (found > 0) continue;
    run.own.compared(last_seq);
    if (notes.length > 0) await run.file.drop(notes.at(-1)!.seq);
    await run.history?.verify();
    return digest.summary();
  }
  throw new StoreError(
    "mismatch",
    `Bucket ${run.bucket.name} differed from the file in ${TRIES} comparisons`,
    { hint: "stop other programs that write to the bucket, then run the move again" },
  );
}

/** Entries of the bucket that are compared before the server's requests have their turn: some 3 ms. */
const READ_PIECE = 256;

/** Writes what differs; returns the number of differences. */
async function writeDifferences(
  run: Run,
  records: () => Iterable<StoreRecord>,
  observe: (record: StoreRecord) => void = () => {},
): Promise<number> {
  let seen = 0;
  let found = 0;
  let entries: [string, string | null][] = [];
  const options: CompareOptions = {
    piece: READ_PIECE,
    ...run.signal && { signal: run.signal },
    observe: () => {
      seen = 0;
      return (record) => {
        observe(record);
        if (++seen % 1000 === 0) run.report(seen);
      };
    },
  };
  for await (const diff of compare(run.bucket, records, options)) {
    found++;
    entries.push([diff.key, diff.change === "extra" ? null : diff.value]);
    if (entries.length < BATCH_LIMIT) continue;
    await run.write(entries);
    entries = [];
  }
  await run.write(entries);
  return found;
}
