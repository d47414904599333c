/**
 * A room as admins see it: who is in it, and who lacks the current key.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { StoreError } from "../../core/errors.ts";
import type { Member, PageRequest, Room } from "../../core/model.ts";
import type { RoomRoster } from "../../core/operations.ts";
import type { Call } from "../pipeline/route.ts";
import { withUsers } from "../rights/lookup.ts";

/** Most members of a page, each of which is looked up. */
export const ROSTER_MAX = 1_000;
/** Default number of members in a page. */
const ROSTER_DEFAULT = 200;
/** Records that are read at once: SQLite holds the thread meanwhile. */
const AT_ONCE = 5_000;
/** Tries to see one state of a room that is being rekeyed. */
const TRIES = 5;

/** What is asked. */
export interface RosterRequest extends PageRequest {
  /** Only those without the current key. */
  lacking?: boolean | undefined;
}

/** Reads a room's roster. `not_found` */
export async function rosterOf(
  store: Call["store"],
  roomId: string,
  { lacking = false, limit = ROSTER_DEFAULT, after = null }: RosterRequest,
): Promise<RoomRoster> {
  const { room, members, holders } = await stateOf(store, roomId);
  const hasKey = (it: Member) => holders === null ? null : holders.has(it.endpoint);
  const without = members.filter((it) => hasKey(it) === false);
  const rest = (lacking ? without : members).filter((it) => after === null || it.endpoint > after);
  const shown = rest.slice(0, limit);
  const users = await withUsers(store, shown, { handles: true });
  const items = users.map((it) => ({
    endpoint: it.endpoint,
    role: it.role,
    joinedAt: it.joinedAt,
    accepted: it.accepted,
    handle: it.handle ?? null,
    status: it.status,
    hasKey: hasKey(it),
  }));
  return {
    room,
    members: members.length,
    lacking: without.length,
    items,
    next: rest.length > shown.length ? shown.at(-1)!.endpoint : null,
  };
}

interface State {
  room: Room;
  members: Member[];
  /** Endpoints with a key of the current epoch; `null` in a cleartext room. */
  holders: ReadonlySet<string> | null;
}

/** Reads everything from one epoch: members added after a rekey would else seem to lack the key. */
async function stateOf(store: Call["store"], roomId: string): Promise<State> {
  let room = await store.getRoom(roomId);
  for (let tries = 1;; tries++) {
    const { epoch } = room;
    const members = await whole(store.members(roomId, { limit: AT_ONCE }));
    // After the members: one who is added meanwhile is not among them, and cannot seem to lack a key.
    const keys = room.encrypted
      ? await whole(store.sealedKeys(roomId, { limit: AT_ONCE, epoch }))
      : null;
    room = await store.getRoom(roomId);
    if (room.epoch === epoch) {
      return { room, members, holders: keys && new Set(keys.map((it) => it.endpoint)) };
    }
    if (tries >= TRIES) {
      throw new StoreError(
        "unavailable",
        `Reading room ${room.id}: it was rekeyed repeatedly meanwhile`,
      );
    }
  }
}

async function whole<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) {
    found.push(item);
    if (found.length % AT_ONCE === 0) await setImmediate();
  }
  return found;
}
