/**
 * Pages of a bucket's history.
 *
 * @module
 */

import type { HistoryEntry } from "../../core/history/entry.ts";
import { compareRevisions, formatRevision, type Revision } from "../../core/history/revision.ts";
import { type HistoryRange, isWanted } from "../../core/history/source.ts";
import { retry, Transient } from "../log/wire.ts";
import type { Context } from "../transactions/context.ts";
import type { Placed } from "../records/entries.ts";
import { entryOf, lastArchived, type Message, misplaced, readBatch } from "./messages.ts";
import { later, Reader, readUntil } from "./reader.ts";
import { Repeats } from "./repeats.ts";
import { searchArchive, searchRevision } from "./search.ts";

/** Messages of the archive that the first and the largest step backwards read. */
const STEP = { first: 128, largest: 4096 };
/** Milliseconds by which the clocks of the processes that make changes may differ. */
const CLOCKS_DIFFER = 3600_000;

/** Returns the first entries of a range. `newest` is the last sequence to read in the bucket's stream. */
export async function oldestPage(
  context: Context,
  range: HistoryRange,
  newest: number,
): Promise<HistoryEntry[]> {
  const { after, before, limit } = range;
  const sequence = await searchRange(context, range);
  const reader = new Reader(context.bucket, { sequence, after });
  const found: HistoryEntry[] = [];
  for await (const entries of readUntil(context, reader, newest)) {
    for (const placed of entries) {
      if (!isBefore(placed, before)) return found;
      if (isWanted(placed.entry, range)) found.push(placed.entry);
      if (found.length === limit) return found;
    }
  }
  return found;
}

/** Returns the last entries of a range, the newest first. */
export async function newestPage(
  context: Context,
  range: HistoryRange,
  newest: number,
): Promise<HistoryEntry[]> {
  const { before, limit } = range;
  const { bucket } = context;
  const end = await lastArchived(bucket, context.deadline());
  const last = end?.placed?.at ?? null;
  const found: HistoryEntry[] = [];
  if (before === null || last === null || compareRevisions(last, before) < 0) {
    // What the archive does not have yet is read forward; the last ones count.
    const sequence = (end?.sequence ?? 0) + 1;
    const reader = new Reader(bucket, { sequence, after: later(range.after, last) });
    for await (const entries of readUntil(context, reader, newest)) {
      for (const placed of entries) {
        if (!isBefore(placed, before) || !isWanted(placed.entry, range)) continue;
        if (found.unshift(placed.entry) > limit) found.pop();
      }
    }
  }
  if (end === null || found.length === limit) return found;
  for await (const { entry } of backwards(context, range, end)) {
    if (isWanted(entry, range)) found.push(entry);
    if (found.length === limit) break;
  }
  return found;
}

/** Iterates over entries of the archive from the end, or from `before`, each once. */
async function* backwards(
  context: Context,
  range: HistoryRange,
  end: Message,
): AsyncGenerator<Placed> {
  const { bucket } = context;
  const { before } = range;
  const first = await searchRange(context, range);
  let high = end.sequence + 1;
  if (before !== null) {
    const isEarlier = (_: HistoryEntry, at: Revision) => compareRevisions(at, before) < 0;
    high = await searchArchive(bucket, isEarlier, context.deadline());
  }
  let last = before;
  const recent = new Repeats();
  for (let step = STEP.first; high > first; step = Math.min(2 * step, STEP.largest)) {
    const low = Math.max(first, high - step);
    const messages = await readWindow(context, low, high);
    for (const message of messages.reverse()) {
      const placed = entryOf(message);
      if (placed === null || !isBefore(placed, before)) continue;
      if (range.after !== null && compareRevisions(placed.at, range.after) <= 0) continue;
      const { revision } = placed.entry;
      if (isBefore(placed, last)) {
        last = placed.at;
        recent.add(revision);
        yield placed;
      } else if (!recent.has(revision)) {
        const { sequence } = message;
        throw misplaced(bucket, { revision, sequence, other: formatRevision(last!) });
      }
    }
    high = low;
  }
}

/** Reads the messages of the archive from one sequence to before another, all that are kept. */
async function readWindow(context: Context, low: number, high: number): Promise<Message[]> {
  const deadline = context.deadline();
  const found: Message[] = [];
  await retry("Read the history", deadline, async () => {
    for (let next = low; next < high;) {
      const options = { count: high - next, deadline };
      const messages = await readBatch(context.bucket, "archive", next, options);
      // Any replica may answer.
      if (messages.length === 0) throw new Transient(`a replica does not have ${next} yet`);
      found.push(...messages.filter(({ sequence }) => sequence < high));
      next = messages.at(-1)!.sequence + 1;
      low = next;
    }
  });
  return found;
}

/** Returns the first sequence of the archive that may have an entry of a range. */
async function searchRange(context: Context, { after, since }: HistoryRange): Promise<number> {
  const { bucket } = context;
  const first = await searchRevision(bucket, after, context.deadline());
  if (since === null) return first;
  const early = new Date(Date.parse(since) - CLOCKS_DIFFER).toISOString();
  const isEarlier = ({ at }: HistoryEntry) => at < early;
  return Math.max(first, await searchArchive(bucket, isEarlier, context.deadline()));
}

function isBefore({ at }: Placed, before: Revision | null): boolean {
  return before === null || compareRevisions(at, before) < 0;
}
