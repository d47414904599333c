/**
 * Removes the oldest entries of a bucket's history.
 *
 * The cut is one transaction: an entry that tells of it, and a key with the head of the chain there.
 * From then on readers begin behind it. The archive is cleared afterwards; what a killed process left
 * there, the next pruning clears.
 *
 * @module
 */

import { FIRST_HEAD, headAfter } from "../../core/history/chain.ts";
import { type Author, did } from "../../core/history/entry.ts";
import {
  compareRevisionTexts,
  formatRevision,
  revisionOfEnd,
} from "../../core/history/revision.ts";
import type { ChainEnd, PruneRange, SignedHead } from "../../core/history/source.ts";
import { type Entry, revisionOf } from "../log/bucket.ts";
import { CUT_KEY, HISTORY_PATTERN } from "../records/keys.ts";
import type { Context } from "../transactions/context.ts";
import { archiveInfo, purgeArchive } from "./archive.ts";
import { decodeCut, encodeCut } from "./cut.ts";
import { lastArchived, type Message } from "./messages.ts";
import { type Beginning, newestEntry, Reader, readUntil } from "./reader.ts";
import { searchRevision } from "./search.ts";

/** Entries that one call removes at most. */
const MOST = 20_000;

/** Removes entries, and adds one that tells of it; returns how many were removed. */
export async function prune(
  context: Context,
  { before, keep }: PruneRange,
  author: Author,
): Promise<number> {
  let end: ChainEnd | null = null;
  let count = 0;
  await context.transact("Prune the history", CUT_KEY, async (deadline, reads, budget) => {
    const cut = await reads.get(CUT_KEY, deadline);
    end = decodeCut(cut);
    count = 0;
    const from = await beginning(context, end);
    const surplus = keep === null ? 0 : await countAll(context, from) - keep;
    let isOld = before !== null;
    const entries = readUntil(
      context,
      new Reader(context.bucket, from),
      await newestEntry(context),
    );
    read: for await (const some of entries) {
      budget.renew();
      for (const { entry } of some) {
        // Clocks differ, so an old entry may come after a newer one: it stays.
        isOld &&= entry.at < before!;
        if (count === MOST || !isOld && count >= surplus) break read;
        end = { revision: entry.revision, head: headAfter(end.head, entry) };
        count++;
      }
    }
    if (count === 0) return await context.confirm(reads, budget.deadline);
    await commitCut(context, cut, end, count, author, budget.deadline);
  });
  // Readers do not see them any more in any case.
  if (count > 0) await clear(context, end!).catch(() => {});
  return count;
}

/**
 * Removes all entries without reading them, and adds one that tells of it; returns how many were removed.
 *
 * @param heads The signed heads: the end of the chain that cannot be computed
 */
export async function pruneAll(
  context: Context,
  heads: readonly SignedHead[],
  author: Author,
): Promise<number> {
  const { bucket } = context;
  let count = 0;
  let end = 0;
  await context.transact("Prune the history", CUT_KEY, async (deadline, reads, budget) => {
    const cut = await reads.get(CUT_KEY, deadline);
    const last = await lastArchived(bucket, deadline);
    end = last?.sequence ?? 0;
    const revision = await lastRevision(context, last);
    count = revision === null ? 0 : (await archiveInfo(bucket, deadline))?.state.messages ?? 0;
    if (revision === null) return await context.confirm(reads, budget.deadline);
    const signed = heads.find((it) => it.revision === revision);
    const at = { revision, head: signed?.head ?? FIRST_HEAD };
    await commitCut(context, cut, at, count, author, budget.deadline);
  });
  // What is taken over once more does not come after the cut.
  if (count > 0) await purgeArchive(bucket, end + 1, context.deadline());
  return count;
}

/** Returns the revision of the newest entry, even of one that cannot be read. */
async function lastRevision(context: Context, last: Message | null): Promise<string | null> {
  const { bucket } = context;
  const newest = await bucket.get(HISTORY_PATTERN, context.deadline());
  const { generation } = bucket;
  if (newest !== null) return formatRevision({ generation, number: newest.revision });
  return last?.placed?.entry.revision ?? null;
}

/** Makes the cut. */
async function commitCut(
  context: Context,
  found: Entry | null,
  { revision, head }: ChainEnd,
  count: number,
  author: Author,
  deadline: number,
): Promise<void> {
  const { restored } = decodeCut(found);
  const isKept = restored !== undefined &&
    compareRevisionTexts(restored.revision!, revision!) > 0;
  const value = encodeCut({ revision, head, ...isKept && { restored } });
  const write = { key: CUT_KEY, value, expect: revisionOf(found) };
  const change = { author, draft: did.historyPruned(count, revision!, head) };
  await context.commit([write], deadline, change);
}

async function beginning(context: Context, end: ChainEnd): Promise<Beginning> {
  const after = revisionOfEnd(end);
  return { after, sequence: await searchRevision(context.bucket, after, context.deadline()) };
}

/** Counts all entries that are kept; those that an archive repeats count again. */
async function countAll(context: Context, { after, sequence }: Beginning): Promise<number> {
  const { bucket } = context;
  const last = await lastArchived(bucket, context.deadline());
  const next = Math.max(sequence, (last?.sequence ?? 0) + 1);
  let count = next - sequence;
  const rest = new Reader(bucket, { sequence: next, after: last?.placed?.at ?? after });
  for await (const entries of readUntil(context, rest, await newestEntry(context))) {
    count += entries.length;
  }
  return count;
}

/** Clears the archive up to a cut, but for its last message: by that it knows what it has to take next. */
async function clear(context: Context, cut: ChainEnd): Promise<void> {
  const { bucket } = context;
  const { sequence } = await beginning(context, cut);
  const last = await lastArchived(bucket, context.deadline());
  if (last === null) return;
  await purgeArchive(bucket, Math.min(sequence, last.sequence), context.deadline());
}
