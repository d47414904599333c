/**
 * Reads of a single room, member or sealed key.
 *
 * @module
 */

import type { Member, Room, SealedKey } from "../../core/model.ts";
import type { Entry } from "../log/bucket.ts";
import { liveUnder } from "./claims.ts";
import type { Context } from "./context.ts";
import { encodeToken, memberKey, parseKey, roomKey, sealedKeyKey } from "../records/keys.ts";
import { decodeMember, decodeRoom, decodeSealedKey, isVisible } from "../records/values.ts";

/** Returns the room in an entry; `null` if it is not visible to readers. */
export function visibleRoom(id: string, entry: Entry | null | undefined): Room | null {
  const stored = entry ? decodeRoom(entry.key, id, entry.data) : null;
  return stored !== null && isVisible(stored) ? stored.room : null;
}

/** Read operations of rooms. */
export class RoomReads {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  async get(id: string): Promise<Room | null> {
    return visibleRoom(id, await this.#context.readOne(roomKey(id)));
  }

  async member(roomId: string, endpoint: string): Promise<Member | null> {
    const cached = this.#context.cache.member(roomId, endpoint);
    if (cached !== undefined) return cached;
    const key = memberKey(roomId, endpoint);
    const found = await this.#context.read([roomKey(roomId), key]);
    const entry = found.get(key);
    const room = visibleRoom(roomId, found.get(roomKey(roomId)));
    if (room === null || entry === undefined) return null;
    return decodeMember(key, roomId, endpoint, entry.data);
  }

  /** Reads the sealed key of an epoch, or for `null` of the endpoint's highest epoch. */
  async sealedKey(
    roomId: string,
    endpoint: string,
    epoch: number | null,
  ): Promise<SealedKey | null> {
    const deadline = this.#context.deadline();
    let wanted = epoch ?? await this.#epoch(roomId, deadline);
    for (;;) {
      const key = sealedKeyKey(roomId, wanted, endpoint);
      const found = await this.#context.read([roomKey(roomId), key], deadline);
      const room = visibleRoom(roomId, found.get(roomKey(roomId)));
      if (room === null) return null;
      if (epoch === null && room.epoch !== wanted) {
        wanted = room.epoch;
        continue;
      }
      // Keys above the room's epoch belong to an unfinished rekey.
      const entry = wanted > room.epoch ? undefined : found.get(key);
      if (entry !== undefined) {
        return decodeSealedKey(key, { room: roomId, epoch: wanted, endpoint }, entry.data);
      }
      return epoch === null ? await this.#latestKey(room, endpoint, deadline) : null;
    }
  }

  /** Returns the room's epoch as a replica knows it: a first guess. */
  async #epoch(id: string, deadline: number): Promise<number> {
    const { bucket, floor } = this.#context;
    const found = await bucket.getMany([roomKey(id)], floor, deadline);
    return visibleRoom(id, found.get(roomKey(id)))?.epoch ?? 1;
  }

  /** Reads the latest key of an endpoint without one of the current epoch, such as a former member. */
  async #latestKey(
    { id, epoch }: Room,
    endpoint: string,
    deadline: number,
  ): Promise<SealedKey | null> {
    let latest: SealedKey | null = null;
    const pattern = `room_keys.${encodeToken(id)}.*.${endpoint}`;
    const sequence = await this.#context.fence(deadline);
    const found = await liveUnder(this.#context, [pattern], sequence, deadline);
    for (const { key, data } of found.values()) {
      const parsed = parseKey(key);
      if (parsed?.space !== "room_keys") continue;
      if (parsed.epoch > epoch || parsed.epoch < (latest?.epoch ?? 0)) continue;
      latest = decodeSealedKey(key, parsed, data);
    }
    return latest;
  }
}
