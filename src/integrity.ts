/**
 * Records from outside, checked one by one and against each other before a backend sees them.
 *
 * @module
 */

import { StoreError } from "./errors.ts";
import type { Room, StoreRecord } from "./model.ts";
import { compareRecords, keyText } from "./order.ts";
import { record } from "./validate.ts";

function invalid(it: StoreRecord, problem: string, field: string): StoreError {
  return new StoreError("invalid", `Record ${keyText(it)} ${problem}`, { field });
}

/**
 * Passes records on when each is within its limits, they come in canonical order without a
 * repetition, every member and sealed key has its room, and every room its owner.
 * Holds one small entry a room, nothing for the rest.
 */
export async function* checkedRecords(
  source: AsyncIterable<StoreRecord> | Iterable<StoreRecord>,
): AsyncGenerator<StoreRecord> {
  const rooms = new Map<string, Pick<Room, "owner" | "epoch" | "encrypted">>();
  const withoutOwner = new Set<string>();
  let previous: StoreRecord | null = null;
  let membersEnded = false;
  for await (const raw of source) {
    const it = record(raw.kind, raw.record);
    if (previous !== null && compareRecords(previous, it) >= 0) {
      throw invalid(it, `does not come behind ${keyText(previous)}`, "order");
    }
    previous = it;
    if (it.kind === "rooms") {
      const { id, owner, epoch, encrypted } = it.record;
      rooms.set(id, { owner, epoch, encrypted });
      withoutOwner.add(id);
    } else if (it.kind === "members") {
      const room = rooms.get(it.record.roomId);
      if (room === undefined) throw invalid(it, "belongs to no room", "roomId");
      const owns = room.owner === it.record.endpoint;
      if (owns !== (it.record.role === "owner")) {
        throw invalid(
          it,
          `has the role ${it.record.role}, the room's owner is ${room.owner}`,
          "role",
        );
      }
      if (owns) withoutOwner.delete(it.record.roomId);
    } else {
      if (!membersEnded) checkOwners(withoutOwner);
      membersEnded = true;
      if (it.kind === "room_keys") {
        const room = rooms.get(it.record.roomId);
        if (room === undefined) throw invalid(it, "belongs to no room", "roomId");
        if (!room.encrypted) throw invalid(it, "belongs to a cleartext room", "roomId");
        if (it.record.epoch > room.epoch) {
          throw invalid(it, `is ahead of the room, which is at epoch ${room.epoch}`, "epoch");
        }
      }
    }
    yield it;
  }
  if (!membersEnded) checkOwners(withoutOwner);
}

function checkOwners(withoutOwner: Set<string>): void {
  for (const id of withoutOwner) {
    throw new StoreError("invalid", `Room ${id} has no member who is its owner`, {
      field: "owner",
    });
  }
}
