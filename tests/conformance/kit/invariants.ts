/**
 * What must hold in every control plane at every moment, also after a crash.
 *
 * @module
 */

import type { Room, SealedKey, StoreRecord } from "../../../src/core/model.ts";
import { compareRecords, keyText } from "../../../src/core/order.ts";
import type { Store } from "../../../src/core/store.ts";
import { collect, everyPage } from "./kit.ts";

/** How strict {@link recordProblems} is. */
export interface InvariantOptions {
  /** Whether members are only ever added with a sealed key, so that each has the current epoch's. */
  everyMemberHasKey?: boolean;
}

/** Broken invariants among records of one point in time, one sentence each; none is an empty list. */
export function recordProblems(records: StoreRecord[], options: InvariantOptions = {}): string[] {
  const problems: string[] = [];
  const rooms = new Map<string, Room>();
  const members = new Map<string, Set<string>>();
  const keys = new Map<string, SealedKey>();
  for (const [i, it] of records.entries()) {
    const previous = records[i - 1];
    if (previous !== undefined && compareRecords(previous, it) >= 0) {
      problems.push(`${keyText(it)} comes behind ${keyText(previous)}`);
    }
    if (it.kind === "rooms") {
      rooms.set(it.record.id, it.record);
      members.set(it.record.id, new Set());
      if (it.record.epoch < 1) problems.push(`${keyText(it)} is at epoch ${it.record.epoch}`);
    } else if (it.kind === "members") {
      const room = rooms.get(it.record.roomId);
      if (room === undefined) problems.push(`${keyText(it)} has no room`);
      else if ((it.record.role === "owner") !== (room.owner === it.record.endpoint)) {
        problems.push(`${keyText(it)} has role ${it.record.role}, the owner is ${room.owner}`);
      }
      if (it.record.signPub !== it.record.endpoint) problems.push(`${keyText(it)} has two keys`);
      members.get(it.record.roomId)?.add(it.record.endpoint);
    } else if (it.kind === "room_keys") {
      const room = rooms.get(it.record.roomId);
      if (room === undefined) problems.push(`${keyText(it)} has no room`);
      else if (it.record.epoch > room.epoch) problems.push(`${keyText(it)} is ahead of its room`);
      if (room?.encrypted === false) problems.push(`${keyText(it)} is in a cleartext room`);
      keys.set(`${it.record.epoch}/${it.record.endpoint}/${it.record.roomId}`, it.record);
    } else if (it.kind === "users") {
      if ((it.record.status === "revoked") !== (it.record.revokedAt !== null)) {
        problems.push(`${keyText(it)} is ${it.record.status}, revokedAt ${it.record.revokedAt}`);
      }
    } else {
      if ((it.record.usedAt === null) !== (it.record.usedBy === null)) {
        problems.push(`${keyText(it)} was used at ${it.record.usedAt} by ${it.record.usedBy}`);
      }
      if (it.record.usedAt !== null && it.record.canceledAt !== null) {
        problems.push(`${keyText(it)} was both used and canceled`);
      }
    }
  }
  for (const room of rooms.values()) {
    const endpoints = members.get(room.id)!;
    if (!endpoints.has(room.owner)) problems.push(`rooms ${room.id} lacks its owner`);
    if (!room.encrypted) continue;
    for (const endpoint of options.everyMemberHasKey ? endpoints : [room.owner]) {
      if (!keys.has(`${room.epoch}/${endpoint}/${room.id}`)) {
        problems.push(`rooms ${room.id} has no key of epoch ${room.epoch} for ${endpoint}`);
      }
    }
  }
  return problems;
}

/**
 * Broken invariants of a store nobody writes to meanwhile: those of its records, and whether the
 * look-ups by room and by endpoint agree with them both ways.
 */
export async function invariantProblems(
  store: Store,
  options: InvariantOptions = {},
): Promise<string[]> {
  const records = await collect(store.records());
  const problems = recordProblems(records, options);
  const byRoom = new Map<string, string[]>();
  const byEndpoint = new Map<string, string[]>();
  const offered = new Map<string, string[]>();
  for (const it of records) {
    if (it.kind === "rooms") byRoom.set(it.record.id, []);
    // Who has a user record or a sealed key may be in the index, and must not be without a membership.
    if (it.kind === "room_keys" && !byEndpoint.has(it.record.endpoint)) {
      byEndpoint.set(it.record.endpoint, []);
    }
    if (it.kind !== "members") continue;
    const { roomId, endpoint, accepted } = it.record;
    if (!accepted) offered.set(endpoint, [...offered.get(endpoint) ?? [], roomId]);
    byRoom.get(roomId)?.push(endpoint);
    const mine = byEndpoint.get(endpoint);
    if (mine === undefined) byEndpoint.set(endpoint, [roomId]);
    else mine.push(roomId);
  }
  const compare = (what: string, found: string[], expected: string[]) => {
    if (found.join("\n") === expected.join("\n")) return;
    problems.push(`${what}: ${JSON.stringify(found)}, the records say ${JSON.stringify(expected)}`);
  };
  await forEach(byRoom, async ([id, endpoints]) => {
    const list = await everyPage((page) => store.listMembers(id, page));
    compare(`Members of ${id}`, list.map((it) => it.endpoint), endpoints);
  });
  // The same look-up with a condition: of many who have no offer, some are asked for.
  const notOffered = [...byEndpoint.keys()].filter((it) => !offered.has(it));
  const asked = new Set([...offered.keys(), ...notOffered.slice(0, 100)]);
  await forEach(byEndpoint, async ([endpoint, ids]) => {
    const list = await everyPage((page) => store.listRoomsForEndpoint(endpoint, page));
    compare(`Rooms of ${endpoint}`, list.map((it) => it.id), ids);
    if (!asked.has(endpoint)) return;
    const offers = await everyPage((page) =>
      store.listRoomsForEndpoint(endpoint, { ...page, accepted: false })
    );
    compare(`Offers to ${endpoint}`, offers.map((it) => it.id), offered.get(endpoint) ?? []);
  });
  return problems;
}

/** A few at a time: each call may wait for a server. */
async function forEach<T>(items: Iterable<T>, call: (it: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  const work = async () => {
    for (let it = rest.next(); !it.done; it = rest.next()) await call(it.value);
  };
  await Promise.all(Array.from({ length: 16 }, work));
}
