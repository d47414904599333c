/**
 * Finds places in the archive.
 *
 * @module
 */

import type { HistoryEntry } from "../../core/history/entry.ts";
import { compareRevisions, type Revision } from "../../core/history/revision.ts";
import type { Bucket } from "../log/bucket.ts";
import { archiveInfo, archiveOf } from "./archive.ts";
import type { Placed } from "../records/entries.ts";
import { archived, type Message } from "./messages.ts";

/**
 * Returns the first sequence of the archive whose entry is not before a place; one more than the last if
 * all are. Where the order is only nearly that of the place, it is one of the possible ones.
 */
export async function searchArchive(
  bucket: Bucket,
  isBefore: (entry: HistoryEntry, at: Revision) => boolean,
  deadline: number,
): Promise<number> {
  const { subject } = archiveOf(bucket.name);
  const { first, last } = await endsOf(bucket, deadline);
  let low = first;
  let high = last + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const query = { seq: middle, next_by_subj: subject };
    const found = await archived(bucket, query, deadline);
    // Without an entry it is that of a transaction which was not made: the next one tells.
    const placed = found === null ? null : await nextPlaced(bucket, found, deadline);
    if (placed !== null && isBefore(placed.entry, placed.at)) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function nextPlaced(
  bucket: Bucket,
  message: Message,
  deadline: number,
): Promise<Placed | null> {
  const { subject } = archiveOf(bucket.name);
  let at: Message | null = message;
  while (at !== null && at.placed === null) {
    at = await archived(bucket, { seq: at.sequence + 1, next_by_subj: subject }, deadline);
  }
  return at?.placed ?? null;
}

/** Returns the first sequence of the archive with an entry after a revision. */
export async function searchRevision(
  bucket: Bucket,
  after: Revision | null,
  deadline: number,
): Promise<number> {
  if (after === null) return (await endsOf(bucket, deadline)).first;
  return await searchArchive(bucket, (_, at) => compareRevisions(at, after) <= 0, deadline);
}

async function endsOf(bucket: Bucket, deadline: number): Promise<{ first: number; last: number }> {
  const { first_seq = 0, last_seq = 0 } = (await archiveInfo(bucket, deadline))?.state ?? {};
  // An empty stream begins at 0.
  return { first: Math.max(1, first_seq), last: last_seq };
}
