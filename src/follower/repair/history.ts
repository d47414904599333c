/**
 * Writes the history back that a bucket's archive lost, from a follower that still holds it.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { isDeepStrictEqual } from "node:util";
import { headAfter } from "../../core/history/chain.ts";
import { did, type HistoryEntry } from "../../core/history/entry.ts";
import { compareRevisions, formatRevision, type Revision } from "../../core/history/revision.ts";
import type { ChainEnd } from "../../core/history/source.ts";
import { archiveInfo, emptyArchive, fillArchive } from "../../jetstream/history/archive.ts";
import { encodeCut } from "../../jetstream/history/cut.ts";
import { messagesOf } from "../../jetstream/history/messages.ts";
import { ArchiveWriter } from "../../jetstream/history/writer.ts";
import { type Bucket, revisionOf } from "../../jetstream/log/bucket.ts";
import { streamInfo } from "../../jetstream/log/stream.ts";
import { encodeEntry, type Placed } from "../../jetstream/records/entries.ts";
import { CUT_KEY } from "../../jetstream/records/keys.ts";
import { COLUMNS, HistoryTable } from "../../sqlite/history/table.ts";
import type { StillFile } from "../flip.ts";

/** What a repair did with the history. */
export interface RepairedHistory {
  /** Entries that were written back, or would be. */
  restored: number;
  /** Why the bucket's history cannot be that of the follower; `null` for no such reason. */
  problem: string | null;
}

/** How a repair is made. */
export interface HistoryRepair {
  /** The author of its entry. */
  by: string;
  /** Only report. */
  dryRun: boolean;
  /** Aborts the repair: run again, it starts from the beginning. */
  signal?: AbortSignal | undefined;
}

const NOTHING: RepairedHistory = { restored: 0, problem: null };
/** Entries that are sent at once. */
const BATCH = 500;
/** How long a step may take, milliseconds. */
const PATIENCE = 30_000;

const soon = () => Date.now() + PATIENCE;

/**
 * Creates the archive again where it lacks entries that a follower's file has, or has others: those of the
 * file, then what the bucket has after them. An entry tells of it. So the chain is the one that nodes have
 * signed.
 *
 * @throws {StoreError} `refused`: others write to the archive; `unavailable`
 */
export async function repairHistory(
  { db, held }: Pick<StillFile, "db" | "held">,
  bucket: Bucket,
  { by, dryRun, signal }: HistoryRepair,
): Promise<RepairedHistory> {
  const table = new HistoryTable(db);
  const end = table.end();
  const info = await streamInfo(bucket, soon(), signal);
  // Without the second subject the bucket takes no entries.
  if (end.revision === null || (info?.config.subjects?.length ?? 0) < 2) return NOTHING;
  const found = await compare(bucket, db, table, signal);
  // An archive continues after the last sequence that it took, also of a stream that counts from 1 again.
  if (found.isSame && bucket.created === held.created) return NOTHING;
  if (found.other !== null) {
    const problem =
      `the bucket's own history is another one from revision ${found.other} on, and is ` +
      "kept; membershipd log prune --all begins a new one";
    return { restored: 0, problem };
  }
  const count = countOf(db);
  if (dryRun) return { restored: count, problem: null };
  const { config: { num_replicas: replicas }, state } = info!;
  const former = (await archiveInfo(bucket, soon()))?.state.last_seq ?? 0;
  const first = Math.max(former, state.last_seq + count) + 1;
  await emptyArchive(bucket, { replicas, first, deadline: soon() });
  const writer = await ArchiveWriter.begin(bucket, table.start().revision, () => {
    signal?.throwIfAborted();
  });
  for (;;) {
    signal?.throwIfAborted();
    const entries = table.after(writer.last, BATCH).map(({ entry }) => entry);
    if (entries.length === 0) break;
    await writer.write(entries, soon());
  }
  let { head } = end;
  let last = end.revision;
  for (let from = 0; from < found.later.length; from += BATCH) {
    const some = found.later.slice(from, from + BATCH);
    await writer.write(some.map(({ entry }) => entry), soon());
    for (const { entry, at } of some) [head, last] = [headAfter(head, entry), at];
  }
  // What comes after the last one, in a bucket that has counted on.
  const next = last.generation === bucket.generation ? last.number + 1 : 1;
  await fillArchive(bucket, next, soon());
  await tell(bucket, table, { revision: formatRevision(last), head }, count, by);
  return { restored: count, problem: null };
}

/** Notes in the bucket which entries came from the file, with an entry that tells of it. */
async function tell(
  bucket: Bucket,
  table: HistoryTable,
  restored: ChainEnd,
  count: number,
  by: string,
): Promise<void> {
  const { revision, head } = table.start();
  const cut = { revision: revision && formatRevision(revision), head, restored };
  const author = { by, at: new Date().toISOString(), wrote: () => {} };
  const draft = did.historyRestored(count, restored.revision!, restored.head);
  const entry = encodeEntry(draft, author, bucket.generation);
  const expect = revisionOf(await bucket.get(CUT_KEY, soon()));
  await bucket.commit([{ key: CUT_KEY, value: encodeCut(cut), expect }], soon(), { entry });
}

interface Compared {
  /** The archive has all entries of the file. */
  isSame: boolean;
  /** The first entry that the bucket itself has, and the file has another one; `null` for none. */
  other: string | null;
  /** Entries of the archive after those of the file. */
  later: Placed[];
}

/** Compares the archive, and what the bucket still has itself, with the history of a file. */
async function compare(
  bucket: Bucket,
  db: DatabaseSync,
  table: HistoryTable,
  signal: AbortSignal | undefined,
): Promise<Compared> {
  const end = table.end().revision!;
  const cut = table.start().revision;
  const found: Compared = { isSame: true, other: null, later: [] };
  const isFiled = ({ at, entry }: Placed) => isDeepStrictEqual(entryIn(table, at), entry);
  const own: Revision[] = [];
  for await (const { placed } of messagesOf(bucket, "bucket", soon, signal)) {
    if (placed === null || compareRevisions(placed.at, end) > 0) continue;
    if (isFiled(placed)) own.push(placed.at);
    else if (cut === null || compareRevisions(placed.at, cut) > 0) {
      return { isSame: false, other: placed.entry.revision, later: [] };
    }
  }
  let last = cut;
  let same = 0;
  const archive = await archiveInfo(bucket, soon()) === null
    ? []
    : messagesOf(bucket, "archive", soon, signal);
  for await (const { placed, problem } of archive) {
    if (problem !== null) found.isSame = false;
    // Also one that the archive repeats.
    if (placed === null || (last !== null && compareRevisions(placed.at, last) <= 0)) continue;
    if (compareRevisions(placed.at, end) > 0) {
      last = placed.at;
      found.later.push(placed);
    } else if (isFiled(placed)) {
      last = placed.at;
      same++;
    }
  }
  // What the archive has not taken yet, it will.
  same += own.filter((at) => last === null || compareRevisions(at, last) > 0).length;
  found.isSame &&= same === countOf(db);
  return found;
}

function entryIn(table: HistoryTable, { generation, number }: Revision): HistoryEntry | undefined {
  const sql = `SELECT ${COLUMNS} FROM history WHERE generation = ? AND number = ?`;
  return table.read(sql, generation, number)[0]?.entry;
}

function countOf(db: DatabaseSync): number {
  return Number(db.prepare("SELECT count(*) AS count FROM history").get()!.count);
}
