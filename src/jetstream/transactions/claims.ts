/**
 * Changes of a room that are too large for one batch.
 *
 * Such a change claims the room: its message says `pending`. Each batch writes that message again,
 * expecting the revision that the one before has left, and the last takes the claim away, with which
 * everything counts. Whoever writes the room in between has taken the claim, and the change fails as a
 * lost race. As the claim moves with each batch, a change that goes on can be told from one whose
 * process was killed, which is finished or undone by whoever needs the room next.
 *
 * @module
 */

import type { Room } from "../../core/model.ts";
import { alive, BATCH_LIMIT, type Entry, revisionOf, TooMany, type Write } from "../log/bucket.ts";
import type { Budget, Context } from "./context.ts";
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

/** A room as it was read, and the revision to write it at. */
export interface Read {
  stored: StoredRoom | null;
  revision: number;
}

/** The room, where readers see it. */
export function visible(it: Read): Room | null {
  return it.stored !== null && isVisible(it.stored) ? it.stored.room : null;
}

/** Longest time without a batch, milliseconds, after which a claim counts as left behind. */
const SILENCE = 2000;

/** Rooms as transactions read them, and changes of them in many batches. */
export class Claims {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Reads a room at the leader, also one that is hidden. */
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
   * Reads a room; where a change is under way, as it is when that is over or nothing more comes of it.
   *
   * @param isEnough Whether a room need not be waited for
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
   * Writes the room's message and all of `writes` in one transaction, through a claim where one batch is
   * too small.
   *
   * @param at The revision that the room has
   * @param claim The room's value until then
   * @param value The room's value afterwards; `null` deletes
   * @returns The revision that the room has then
   * @throws {WrongRevision} When somebody else has written the room
   */
  async write(
    id: string,
    at: number,
    claim: string,
    value: string | null,
    writes: Write[],
    budget: Budget,
  ): Promise<number> {
    let expect = at;
    for (let from = 0;;) {
      const piece = writes.slice(from, from + BATCH_LIMIT - 1);
      from += piece.length;
      const isLast = from === writes.length;
      const first = { key: roomKey(id), value: isLast ? value : claim, expect };
      const last = await this.#context.commit([first, ...piece], budget.deadline);
      budget.renew();
      expect = last - piece.length;
      if (isLast) return expect;
    }
  }

  /**
   * Removes a room and all that belongs to it, also what an unfinished change has left.
   *
   * @returns The revision of the room's delete marker; `null` when somebody else cleans up
   */
  async purge({ stored, revision }: Read, budget: Budget): Promise<number | null> {
    const { room } = stored!;
    const token = encodeToken(room.id);
    const claim = encodeRoom(room, { op: "delete" } satisfies Pending);
    // From here on the room is gone for readers, and nothing more can be written under it.
    const at = await this.#context.commit(
      [{ key: roomKey(room.id), value: claim, expect: revision }],
      budget.deadline,
    );
    budget.renew();
    const writes: Write[] = [];
    const patterns = [`members.${token}.*`, `room_keys.${token}.*.*`];
    for (const key of await this.keysUnder(patterns, at, budget)) {
      const parsed = parseKey(key);
      // First: should this end between the two, the member is there to tell of both.
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

  /** Live keys that match, as of `revision` or later. */
  async keysUnder(patterns: string[], revision: number, budget: Budget): Promise<string[]> {
    try {
      const { bucket } = this.#context;
      return [...(await bucket.getMany(patterns, revision, budget.deadline)).keys()];
    } catch (error) {
      if (!(error instanceof TooMany)) throw error;
      const found = await scanLive(this.#context, patterns);
      budget.renew();
      return [...found.keys()];
    }
  }
}

/** Everything that matches, however much: reads by a scan where a batched get is too small. */
export async function scanLive(
  { bucket, opTimeout }: Context,
  patterns: string[],
): Promise<Map<string, Entry>> {
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
