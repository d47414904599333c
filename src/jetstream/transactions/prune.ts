/**
 * Removes sealed keys of old epochs, and invites that can no longer be used.
 *
 * Each batch of deletions is atomic and requires that the room or the invites are unchanged (a
 * recreated room starts at epoch 1). An interrupted call has removed a part, and the next call
 * continues.
 *
 * @module
 */

import { PRUNE_LIMIT } from "../../core/backend.ts";
import { type Author, did } from "../../core/history/entry.ts";
import { inviteEnd, notFound } from "../../core/rules.ts";
import { alive, revisionOf, type Write } from "../log/bucket.ts";
import { liveUnder } from "./claims.ts";
import type { Change, Context } from "./context.ts";
import { scan } from "../log/feed.ts";
import { encodeToken, parseKey, roomKey } from "../records/keys.ts";
import { decodeInvite } from "../records/values.ts";
import { visibleRoom } from "./reads.ts";
import { Ambiguous, WrongRevision } from "../log/wire.ts";

/** Maximum number of deletions in a batch. */
const BATCH = 500;
/** Maximum number of delete markers skipped to find the oldest existing key. */
const MOST_MARKERS = 32;

/** Returns the number of members of a room, from the cache if it is loaded. */
export async function countMembers(context: Context, roomId: string): Promise<number> {
  const known = context.cache.countMembers(roomId);
  if (known !== undefined) return known;
  const deadline = context.deadline();
  const room = (await context.read([roomKey(roomId)], deadline)).get(roomKey(roomId));
  if (visibleRoom(roomId, room) === null) return 0;
  const pattern = `members.${encodeToken(roomId)}.*`;
  return (await liveUnder(context, [pattern], context.floor, deadline)).size;
}

/** Removes sealed keys of epochs up to the current one minus `keep`; returns their number. */
export async function pruneSealedKeys(
  context: Context,
  roomId: string,
  keep: number,
  author: Author,
): Promise<number> {
  const key = roomKey(roomId);
  let removed = 0;
  const what = `Prune sealed keys of room ${roomId}`;
  await context.transact(what, key, async (deadline, reads, budget) => {
    const entry = await reads.get(key, deadline);
    const room = visibleRoom(roomId, alive(entry));
    if (room === null) throw notFound("room", roomId);
    const guard = { key, revision: revisionOf(entry) };
    while (removed < PRUNE_LIMIT) {
      const epoch = await oldestEpoch(context, roomId, budget.deadline);
      if (epoch === null || epoch > room.epoch - keep) break;
      const pattern = `room_keys.${encodeToken(roomId)}.${epoch}.*`;
      const found = await budget.read(() =>
        liveUnder(context, [pattern], context.floor, budget.deadline)
      );
      const keys = [...found.keys()];
      // A replica is behind, or another process was faster: the next call continues.
      if (keys.length === 0) break;
      for (let from = 0; from < keys.length && removed < PRUNE_LIMIT; from += BATCH) {
        const most = Math.min(BATCH, PRUNE_LIMIT - removed);
        const writes = keys.slice(from, from + most).map((it): Write => ({ key: it, value: null }));
        const change = { author, draft: did.keysPruned(roomId, writes.length) };
        const guarded = [{ ...writes[0]!, guard }, ...writes.slice(1)];
        await commit(context, guarded, budget.deadline, change);
        budget.renew();
        removed += writes.length;
      }
    }
    if (removed === 0) await context.confirm(reads, budget.deadline);
  });
  return removed;
}

/** Removes invites that ended before a given time; returns their number. */
export async function pruneInvites(
  context: Context,
  before: string,
  author: Author,
): Promise<number> {
  let removed = 0;
  await context.transact("Prune invites", "invites", async (deadline, _, budget) => {
    const over = new Map<string, number>();
    await scan(context.bucket, {
      pattern: "invites.*",
      patience: context.opTimeout,
      // A replaced leader does not know this sequence, so it cannot end the scan.
      minimum: await context.fence(deadline),
      onEntry: ({ key, data, revision }) => {
        const parsed = parseKey(key);
        if (parsed?.space !== "invites") return;
        const isOver = data.length > 0 && inviteEnd(decodeInvite(key, parsed.id, data)) <= before;
        if (isOver) over.set(key, revision);
        else over.delete(key);
      },
    });
    budget.renew();
    const writes = [...over].map(([key, expect]): Write => ({ key, value: null, expect }));
    for (let from = 0; from < writes.length; from += BATCH) {
      const batch = writes.slice(from, from + BATCH);
      const change = { author, draft: did.invitesPruned(batch.length) };
      await commit(context, batch, budget.deadline, change);
      budget.renew();
      removed += batch.length;
    }
  });
  return removed;
}

/** Commits deletions, which can be retried because they are idempotent. */
async function commit(
  context: Context,
  writes: Write[],
  deadline: number,
  change: Change,
): Promise<void> {
  try {
    await context.commit(writes, deadline, change);
  } catch (error) {
    if (!(error instanceof Ambiguous)) throw error;
    throw new WrongRevision("outcome open", { cause: error });
  }
}

/** Returns the epoch of the oldest existing sealed key; `null` if none is found soon. */
async function oldestEpoch(
  context: Context,
  roomId: string,
  deadline: number,
): Promise<number | null> {
  const pattern = `room_keys.${encodeToken(roomId)}.*.*`;
  for (let from = 1, step = 0; step < MOST_MARKERS; step++) {
    const entry = await context.bucket.next(pattern, from, deadline);
    if (entry === null) return null;
    const parsed = parseKey(entry.key);
    if (entry.data.length > 0 && parsed?.space === "room_keys") return parsed.epoch;
    from = entry.revision + 1;
  }
  return null;
}
