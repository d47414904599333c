/**
 * Makes changes of a room that are too large for one batch.
 *
 * Such a change claims the room: its message is marked `pending`. Each batch rewrites that message
 * on the condition of its previous revision, and the last one removes the claim, which commits the
 * change. If another process writes the room in between, the claim is lost and the change fails as
 * a lost race. Because each batch renews the claim, a running change can be distinguished from one
 * whose process was killed; the next process that needs the room completes or reverts the latter.
 *
 * @module
 */

import type { Room } from "../../core/model.ts";
import { alive, BATCH_LIMIT, type Entry, revisionOf, TooMany, type Write } from "../log/bucket.ts";
import type { Budget, Change, Context } from "./context.ts";
import { scan } from "../log/feed.ts";
import type { Reads } from "../log/fence.ts";
import { encodeToken, indexKey, parseKey, roomKey } from "../records/keys.ts";
import {
  decodeRoom,
  encodeRoom,
  isVisible,
  type Pending,
  type StoredRoom,
} from "../records/values.ts";
import { wait, WrongRevision } from "../log/wire.ts";

/** A room as read, and its revision for a conditional write. */
export interface Read {
  stored: StoredRoom | null;
  revision: number;
}

/** Returns the room if readers see it. */
export function visible(it: Read): Room | null {
  return it.stored !== null && isVisible(it.stored) ? it.stored.room : null;
}

/** Time in milliseconds without a batch after which a claim counts as abandoned. */
const SILENCE = 2000;

/** Reads rooms for transactions, and changes them in several batches. */
export class Claims {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Reads a room at the leader, even a hidden one. */
  async read(id: string, deadline: number, reads: Pick<Reads, "get">): Promise<Read> {
    const key = roomKey(id);
    const entry = await reads.get(key, deadline);
    const live = alive(entry);
    return {
      stored: live && decodeRoom(key, id, live.data),
      revision: revisionOf(entry),
    };
  }

  /**
   * Reads a room; if a change is in progress, waits until it has completed or is abandoned.
   *
   * @param isEnough Reports whether a room can be returned without waiting
   */
  async settled(
    id: string,
    reads: Pick<Reads, "get">,
    budget: Budget,
    isEnough: (it: StoredRoom) => boolean,
  ): Promise<Read> {
    const silence = Math.min(SILENCE, this.#context.opTimeout / 2);
    let at: Read | null = null;
    let since = Date.now();
    for (let pause = 5;; pause = Math.min(2 * pause, 100)) {
      const now = await this.read(id, budget.deadline, reads);
      if (now.stored === null || isEnough(now.stored)) return now;
      if (now.revision !== at?.revision) {
        if (at !== null) budget.renew();
        at = now;
        since = Date.now();
      } else if (Date.now() - since >= silence) return now;
      await wait(Math.min(pause, silence / 4));
    }
  }

  /**
   * Writes the room's message and all of `writes` in one transaction, with a claim if one batch is
   * too small.
   *
   * @param at The room's current revision
   * @param claim The room's value during the change
   * @param value The room's value afterwards; `null` deletes
   * @param change The change that the last batch makes visible, if any
   * @returns The room's new revision
   * @throws {WrongRevision} Another process has written the room
   */
  async write(
    id: string,
    at: number,
    claim: string,
    value: string | null,
    writes: Write[],
    budget: Budget,
    change?: Change,
  ): Promise<number> {
    let expect = at;
    for (let from = 0;;) {
      // Beside the room's message; the last batch has the history entry too.
      const most = BATCH_LIMIT - 1;
      const rest = writes.length - from;
      const piece = writes.slice(from, from + (rest < most ? rest : Math.min(rest - 1, most)));
      from += piece.length;
      const isLast = from === writes.length;
      const batch = [{ key: roomKey(id), value: isLast ? value : claim, expect }, ...piece];
      const made = isLast ? change : undefined;
      expect = await this.#context.commit(batch, budget.deadline, made);
      budget.renew();
      if (isLast) return expect;
    }
  }

  /**
   * Deletes a room and everything that belongs to it, including the remains of an unfinished
   * change.
   *
   * @param change The deletion, if readers see the room until then
   * @returns The revision of the room's delete marker; `null` if another process is cleaning up
   */
  async purge(
    { stored, revision }: Read,
    budget: Budget,
    change?: Change,
  ): Promise<number | null> {
    const { room } = stored!;
    const token = encodeToken(room.id);
    const claim = encodeRoom(room, { op: "delete" } satisfies Pending);
    // From here on, readers do not see the room, and nothing can be written to it.
    const at = await this.#context.commit(
      [{ key: roomKey(room.id), value: claim, expect: revision }],
      budget.deadline,
      change,
    );
    budget.renew();
    const writes: Write[] = [];
    const patterns = [`members.${token}.*`, `room_keys.${token}.*.*`];
    for (const key of await this.keysUnder(patterns, at, budget)) {
      const parsed = parseKey(key);
      // First the index: if this is interrupted in between, the member still leads to both.
      if (parsed?.space === "members") {
        writes.push({ key: indexKey(parsed.endpoint, room.id), value: null });
      }
      writes.push({ key, value: null });
    }
    try {
      return await this.write(room.id, at, claim, null, writes, budget);
    } catch (error) {
      if (error instanceof WrongRevision) return null;
      throw error;
    }
  }

  /** Returns matching live keys, as of `revision` or later. */
  async keysUnder(patterns: string[], revision: number, budget: Budget): Promise<string[]> {
    const found = await budget.read(() =>
      liveUnder(this.#context, patterns, revision, budget.deadline)
    );
    return [...found.keys()];
  }
}

/** Returns all matching entries, as of `minimum` or later; scans if there are too many for a batched get. */
export async function liveUnder(
  { bucket, opTimeout }: Context,
  patterns: string[],
  minimum: number,
  deadline: number,
): Promise<Map<string, Entry>> {
  try {
    return await bucket.getMany(patterns, minimum, deadline);
  } catch (error) {
    if (!(error instanceof TooMany)) throw error;
  }
  const found = new Map<string, Entry>();
  for (const pattern of patterns) {
    await scan(bucket, {
      pattern,
      patience: opTimeout,
      onEntry: (entry) => {
        if (entry.data.length > 0) found.set(entry.key, entry);
        else found.delete(entry.key);
      },
    });
  }
  return found;
}
