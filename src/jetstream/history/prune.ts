/**
 * Removes the oldest entries of a bucket's history.
 *
 * The cut is one transaction: an entry that tells of it, and a key with the head of the chain there.
 * From then on readers begin behind it. The archive is cleared afterwards; what a killed process left
 * there, the next pruning clears.
 *
 * @module
 */

import { headAfter } from "../../core/history/chain.ts";
import { type Author, did } from "../../core/history/entry.ts";
import { type Revision, revisionOfEnd } from "../../core/history/revision.ts";
import type { ChainEnd } from "../../core/history/source.ts";
import { revisionOf } from "../log/bucket.ts";
import { CUT_KEY } from "../records/keys.ts";
import type { Context } from "../transactions/context.ts";
import { purgeArchive } from "./archive.ts";
import { decodeCut, encodeCut } from "./cut.ts";
import { lastArchived } from "./messages.ts";
import { newestEntry, Reader, readUntil } from "./reader.ts";
import { searchRevision } from "./search.ts";

/** Entries that one call removes at most. */
const MOST = 20_000;

/** Which entries to remove: those made before a time, and all but the newest so many. */
export interface Which {
  /** The time; `null` for none. */
  before: string | null;
  /** How many stay; `null` for all. */
  keep: number | null;
}

/** Removes entries, and adds one that tells of it; returns how many were removed. */
export async function prune(
  context: Context,
  { before, keep }: Which,
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
    const { revision, head } = end;
    const write = { key: CUT_KEY, value: encodeCut(end), expect: revisionOf(cut) };
    const change = { author, draft: did.historyPruned(count, revision!, head) };
    await context.commit([write], budget.deadline, change);
  });
  // Readers do not see them any more in any case.
  if (count > 0) await clear(context, end!).catch(() => {});
  return count;
}

interface Beginning {
  after: Revision | null;
  sequence: number;
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
