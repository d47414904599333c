/**
 * Copies the history of a bucket into a new file.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { did, type HistoryEntry } from "../../core/history/entry.ts";
import { formatRevision } from "../../core/history/revision.ts";
import { archiveInfo } from "../../jetstream/history/archive.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import type { SqliteTarget } from "../../sqlite/file/target.ts";
import { reader, refuseAborted, soon } from "../steps.ts";
import type { MovedHistory } from "../types.ts";

/** Entries in one transaction. */
const BATCH = 2000;

/**
 * Copies all entries, compares the chain of both sides, and adds an entry that tells of the move. `null` if
 * the bucket has no archive.
 *
 * @throws {StoreError} `mismatch`
 */
export async function copyToTable(
  bucket: Bucket,
  { history: table, transact }: Pick<SqliteTarget, "history" | "transact">,
  { by, signal }: { by: string; signal?: AbortSignal | undefined },
): Promise<MovedHistory | null> {
  if (await archiveInfo(bucket, soon()) === null) return null;
  const source = reader(bucket).history!;
  const start = await source.start();
  transact(() => table.cut(start));
  let written = 0;
  let batch: HistoryEntry[] = [];
  const flush = () => {
    written += transact(() => table.addAll(batch));
    batch = [];
  };
  for await (const { entry } of source.walk(null, signal)) {
    if (batch.push(entry) < BATCH) continue;
    refuseAborted(signal);
    flush();
  }
  refuseAborted(signal);
  flush();
  const { revision: at, head } = table.end();
  const revision = at && formatRevision(at);
  const end = await source.head();
  if (end.revision !== revision || end.head !== head) {
    throw new StoreError(
      "mismatch",
      `The history of bucket ${bucket.name} ends at ${end.revision}, that of the file at ${revision}`,
    );
  }
  const author = { by, at: new Date().toISOString(), wrote: () => {} };
  transact(() => table.append(did.moved(`bucket ${bucket.name}`, "file"), author));
  return { written, revision, head };
}
