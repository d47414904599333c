/**
 * Transactions of rooms, members and sealed keys.
 *
 * The room's own message is its lock: whatever changes the room, its members or its epoch writes it
 * with compare-and-set, and a single sealed key is written under the condition that it has not
 * changed. A change too large for one batch claims the room first (`pending`), writes in batches
 * that each demand the claim, and takes effect with the last one; readers see nothing of it before.
 * Whoever changes the room meanwhile takes the claim away, and the large change fails as a lost race.
 *
 * @module
 */

import { StoreError } from "../errors.ts";
import type { Member, Room, SealedKey } from "../model.ts";
import { notFound, ownerChangeProblem, rekeyProblem, sealedKeyProblem } from "../rules.ts";
import { BATCH_LIMIT, type Entry, TooMany, type Write } from "./bucket.ts";
import { alive, type Context, revisionOf } from "./context.ts";
import { scan } from "./feed.ts";
import type { Reads } from "./fence.ts";
import {
  encodeToken,
  indexKey,
  memberKey,
  parseKey,
  roomKey,
  sealedKeyKey,
  userKey,
} from "./keys.ts";
import {
  decodeMember,
  decodeRoom,
  decodeSealedKey,
  decodeUser,
  encodeIndex,
  encodeMember,
  encodeRoom,
  encodeSealedKey,
  isAccepted,
  isVisible,
  type Pending,
  type StoredRoom,
  unknownKey,
} from "./values.ts";
import { Ambiguous, WrongRevision } from "./wire.ts";

/** A room as it was read, and the revision to write it at. */
interface Read {
  stored: StoredRoom | null;
  revision: number;
}

function visible(it: Read): Room | null {
  return it.stored !== null && isVisible(it.stored) ? it.stored.room : null;
}

/** @param expect The revision that the member must have; left out, it does not matter */
function memberWrites(it: Member, expect?: number): Write[] {
  return [
    {
      key: memberKey(it.roomId, it.endpoint),
      value: encodeMember(it),
      ...(expect !== undefined && { expect }),
    },
    { key: indexKey(it.endpoint, it.roomId), value: encodeIndex(it) },
  ];
}

function keyWrite(it: SealedKey): Write {
  return { key: sealedKeyKey(it.roomId, it.epoch, it.endpoint), value: encodeSealedKey(it) };
}

/** The writing side of rooms. */
export class RoomTransactions {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  async #read(id: string, deadline: number, reads: Pick<Reads, "get">): Promise<Read> {
    const key = roomKey(id);
    const entry = await reads.get(key, deadline);
    const live = alive(entry);
    return {
      stored: live && decodeRoom(key, id, live.data),
      revision: revisionOf(entry),
    };
  }

  async #readVisible(
    id: string,
    deadline: number,
    reads: Reads,
  ): Promise<{ room: Room; at: Read }> {
    const at = await this.#read(id, deadline, reads);
    const room = visible(at);
    if (room === null) throw notFound("room", id);
    return { room, at };
  }

  #write(id: string, room: Room, pending: Pending | null, revision: number): Write {
    return { key: roomKey(id), value: encodeRoom(room, pending), expect: revision };
  }

  /** Writes the room as it is: takes the lock, and any claim on it becomes void. */
  #touch(at: Read): Write {
    const { room, pending } = at.stored!;
    return this.#write(room.id, room, pending, at.revision);
  }

  create(room: Room, members: Member[], keys: SealedKey[]): Promise<void> {
    const { id } = room;
    return this.#context.transact(`Create room ${id}`, roomKey(id), async (deadline, reads) => {
      let at = await this.#read(id, deadline, reads);
      if (visible(at) !== null) throw new StoreError("room_exists", `Room ${id} exists already`);
      // The rest of a change that was never finished.
      if (at.stored !== null) {
        await this.#purge(at, deadline);
        at = await this.#read(id, deadline, reads);
      }
      const writes = [...members.flatMap((it) => memberWrites(it)), ...keys.map(keyWrite)];
      await this.#large(room, at, { op: "create" }, room, writes, deadline);
    });
  }

  delete(id: string): Promise<void> {
    return this.#context.transact(`Delete room ${id}`, roomKey(id), async (deadline, reads) => {
      const { at } = await this.#readVisible(id, deadline, reads);
      await this.#purge(at, deadline, true);
    });
  }

  add(member: Member, key: SealedKey | null): Promise<void> {
    const { roomId: id, endpoint } = member;
    return this.#context.transact(
      `Add member to room ${id}`,
      roomKey(id),
      async (deadline, reads) => {
        const { room, at } = await this.#readVisible(id, deadline, reads);
        const there = await reads.get(memberKey(id, endpoint), deadline);
        if (alive(there) !== null) {
          throw new StoreError("member_exists", `${endpoint} is a member of room ${id} already`);
        }
        if (key !== null) {
          const problem = sealedKeyProblem(room, key.epoch);
          if (problem !== null) throw problem;
          if (key.epoch !== room.epoch) {
            throw new StoreError(
              "conflict",
              `Sealed key of epoch ${key.epoch} for room ${id}: the room is at epoch ${room.epoch}`,
            );
          }
        }
        const writes = [this.#touch(at), ...memberWrites(member)];
        if (key !== null) writes.push(keyWrite(key));
        await this.#context.commit(writes, deadline);
      },
    );
  }

  /** Writes the member at its revision, not the room: many can join a room at once. */
  join(id: string, endpoint: string): Promise<Member> {
    const key = memberKey(id, endpoint);
    return this.#context.transact(`Join room ${id}`, key, async (deadline, reads) => {
      await this.#readVisible(id, deadline, reads);
      const { member, revision } = await this.#readMember(id, endpoint, deadline, reads);
      if (member.accepted) {
        await this.#context.confirm(reads, deadline);
        return member;
      }
      const joined: Member = { ...member, accepted: true };
      await this.#context.commit(memberWrites(joined, revision), deadline);
      return joined;
    });
  }

  changeOwner(id: string, endpoint: string): Promise<Room> {
    return this.#context.transact(
      `Change owner of room ${id}`,
      roomKey(id),
      async (deadline, reads) => {
        const { room, at } = await this.#readVisible(id, deadline, reads);
        const { member, revision } = await this.#readMember(id, endpoint, deadline, reads);
        const former = room.owner;
        if (former === endpoint) {
          await this.#context.confirm(reads, deadline);
          return room;
        }
        const key = userKey(former);
        const entry = await reads.get(key, deadline);
        const live = alive(entry);
        const owner = live && decodeUser(key, former, live.data);
        const sealed = await reads.get(sealedKeyKey(id, room.epoch, endpoint), deadline);
        const problem = ownerChangeProblem(room, owner, member, alive(sealed) !== null);
        if (problem !== null) throw problem;
        const next: Room = { ...room, owner: endpoint };
        await this.#context.commit([
          this.#write(id, next, at.stored!.pending, at.revision),
          ...memberWrites({ ...member, role: "owner" }, revision),
          // Not if the former owner gets access again meanwhile.
          {
            key: memberKey(id, former),
            value: null,
            guard: { key, revision: revisionOf(entry) },
          },
          { key: indexKey(former, id), value: null },
        ], deadline);
        return next;
      },
    );
  }

  async #readMember(
    id: string,
    endpoint: string,
    deadline: number,
    reads: Reads,
  ): Promise<{ member: Member; revision: number }> {
    const key = memberKey(id, endpoint);
    const entry = alive(await reads.get(key, deadline));
    if (entry === null) throw notFound("member", `${endpoint} in room ${id}`);
    return { member: decodeMember(key, id, endpoint, entry.data), revision: entry.revision };
  }

  remove(id: string, endpoint: string): Promise<void> {
    return this.#context.transact(
      `Remove member of room ${id}`,
      roomKey(id),
      async (deadline, reads) => {
        const { room, at } = await this.#readVisible(id, deadline, reads);
        const there = await reads.get(memberKey(id, endpoint), deadline);
        if (alive(there) === null) throw notFound("member", `${endpoint} in room ${id}`);
        if (room.owner === endpoint) {
          throw new StoreError("room_owner", `${endpoint} owns room ${id} and cannot be removed`);
        }
        await this.#context.commit([
          this.#touch(at),
          { key: memberKey(id, endpoint), value: null },
          { key: indexKey(endpoint, id), value: null },
        ], deadline);
      },
    );
  }

  rekey(id: string, epoch: number, keys: SealedKey[]): Promise<Room> {
    return this.#context.transact(`Rekey room ${id}`, roomKey(id), async (deadline, reads) => {
      const { room, at } = await this.#readVisible(id, deadline, reads);
      const members = new Set<string>();
      for (const key of await this.#keysUnder([`members.${encodeToken(id)}.*`], at, deadline)) {
        const parsed = parseKey(key);
        if (parsed?.space === "members") members.add(parsed.endpoint);
      }
      const problem = rekeyProblem(room, members, epoch, keys.map((it) => it.endpoint));
      if (problem !== null) throw problem;
      const next: Room = { ...room, epoch };
      const writes = keys.map(keyWrite);
      if (at.stored!.pending !== null) {
        // An unfinished rekey left sealed keys of this epoch behind; some may be of ex-members.
        const written = new Set(writes.map((it) => it.key));
        const pattern = `room_keys.${encodeToken(id)}.${epoch}.*`;
        for (const key of await this.#keysUnder([pattern], at, deadline)) {
          if (!written.has(key)) writes.push({ key, value: null });
        }
      }
      await this.#large(next, at, { op: "rekey" }, room, writes, deadline);
      return next;
    });
  }

  putKey(key: SealedKey): Promise<void> {
    const { roomId: id, endpoint, epoch } = key;
    let touch = false;
    return this.#context.transact(
      `Put sealed key of room ${id}`,
      roomKey(id),
      async (deadline, reads) => {
        const { room, at } = await this.#readVisible(id, deadline, reads);
        const there = await reads.get(memberKey(id, endpoint), deadline);
        if (alive(there) === null) throw notFound("member", `${endpoint} in room ${id}`);
        const problem = sealedKeyProblem(room, epoch);
        if (problem !== null) throw problem;
        if (touch) {
          await this.#context.commit([this.#touch(at), keyWrite(key)], deadline);
          return;
        }
        const guard = { key: roomKey(id), revision: at.revision };
        try {
          await this.#context.commit([{ ...keyWrite(key), guard }], deadline);
        } catch (error) {
          if (!(error instanceof Ambiguous)) throw error;
          // From now on the room is written along: that voids the first try, should it still come.
          touch = true;
          throw new WrongRevision("outcome open", { cause: error });
        }
      },
    );
  }

  /** Removes a room and all that belongs to it, also what an unfinished change has left. */
  async purgeHidden(id: string): Promise<void> {
    await this.#context.transact(`Clean up room ${id}`, roomKey(id), async (deadline, reads) => {
      const at = await this.#read(id, deadline, reads);
      if (at.stored === null || at.stored.pending === null) return;
      if (!isVisible(at.stored)) return await this.#purge(at, deadline);
      const { room } = at.stored;
      const pattern = `room_keys.${encodeToken(id)}.${room.epoch + 1}.*`;
      const keys = await this.#keysUnder([pattern], at, deadline);
      const writes: Write[] = keys.map((key) => ({ key, value: null }));
      await this.#large(room, at, { op: "rekey" }, room, writes, deadline);
    });
  }

  async #purge(at: Read, deadline: number, others = false): Promise<void> {
    const { room } = at.stored!;
    const token = encodeToken(room.id);
    // From here on the room is gone for readers, and nothing more can be written under it.
    const claim = await this.#context.commit(
      [this.#write(room.id, room, { op: "delete" }, at.revision)],
      deadline,
    );
    const claimed: Read = { stored: at.stored, revision: claim };
    const patterns = [`members.${token}.*`, `room_keys.${token}.*.*`];
    const writes: Write[] = [];
    for (const key of await this.#keysUnder(patterns, claimed, deadline)) {
      writes.push({ key, value: null });
      const parsed = parseKey(key);
      if (parsed?.space === "members") {
        writes.push({ key: indexKey(parsed.endpoint, room.id), value: null });
      }
    }
    try {
      await this.#inBatches(room.id, claim, writes, {
        key: roomKey(room.id),
        value: null,
        expect: claim,
      }, deadline);
    } catch (error) {
      // Only who makes the room anew takes this claim away, and cleans up first: ours is done.
      if (!(others && error instanceof WrongRevision)) throw error;
    }
  }

  /** Writes `next` and all of `writes` in one transaction, through a claim where one batch is too small. */
  async #large(
    next: Room,
    at: Read,
    pending: Pending,
    until: Room,
    writes: Write[],
    deadline: number,
  ): Promise<void> {
    if (writes.length < BATCH_LIMIT) {
      await this.#context.commit(
        [this.#write(next.id, next, null, at.revision), ...writes],
        deadline,
      );
      return;
    }
    const claim = await this.#context.commit(
      [this.#write(next.id, until, pending, at.revision)],
      deadline,
    );
    await this.#inBatches(
      next.id,
      claim,
      writes,
      this.#write(next.id, next, null, claim),
      deadline,
    );
  }

  async #inBatches(
    id: string,
    claim: number,
    writes: Write[],
    final: Write,
    deadline: number,
  ): Promise<void> {
    const guard = { key: roomKey(id), revision: claim };
    let from = 0;
    for (; writes.length - from >= BATCH_LIMIT; from += BATCH_LIMIT) {
      const [first, ...rest] = writes.slice(from, from + BATCH_LIMIT);
      await this.#context.commit([{ ...first!, guard }, ...rest], deadline);
    }
    await this.#context.commit([final, ...writes.slice(from)], deadline);
  }

  /** Live keys that match, as of the room's revision or later. */
  async #keysUnder(patterns: string[], at: Read, deadline: number): Promise<string[]> {
    const { bucket } = this.#context;
    try {
      return [...(await bucket.getMany(patterns, at.revision, deadline)).keys()];
    } catch (error) {
      if (!(error instanceof TooMany)) throw error;
      return [...(await scanLive(this.#context, patterns, deadline)).keys()];
    }
  }
}

/** Everything that matches, however much: reads by a scan where a batched get is too small. */
export async function scanLive(
  context: Context,
  patterns: string[],
  deadline: number,
): Promise<Map<string, Entry>> {
  const found = new Map<string, Entry>();
  for (const pattern of patterns) {
    await scan(context.bucket, {
      pattern,
      deadline,
      onEntry: (entry) => {
        if (entry.data.length > 0) found.set(entry.key, entry);
        else found.delete(entry.key);
      },
    });
  }
  return found;
}

function visibleRoom(id: string, entry: Entry | null): Room | null {
  const stored = entry && decodeRoom(entry.key, id, entry.data);
  return stored !== null && isVisible(stored) ? stored.room : null;
}

/** The reading side of rooms. */
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
    const room = visibleRoom(roomId, found.get(roomKey(roomId)) ?? null);
    if (room === null || entry === undefined) return null;
    return decodeMember(key, roomId, endpoint, entry.data);
  }

  async members(id: string): Promise<Member[]> {
    const found = await this.#under(id, [`members.${encodeToken(id)}.>`]);
    const members: Member[] = [];
    for (const { key, data } of found.values()) {
      const parsed = parseKey(key);
      if (parsed?.space !== "members") throw unknownKey(key, `Listing members of room ${id}`);
      members.push(decodeMember(key, id, parsed.endpoint, data));
    }
    return members.sort((a, b) => a.endpoint < b.endpoint ? -1 : 1);
  }

  /** Sealed keys, by epoch and endpoint; those ahead of the room are part of an unfinished rekey. */
  async sealedKeys(
    id: string,
    epoch: number | null,
    endpoint: string | null,
  ): Promise<SealedKey[]> {
    const room = { epoch: 0 };
    const pattern = `room_keys.${encodeToken(id)}.${epoch ?? "*"}.${endpoint ?? "*"}`;
    const found = await this.#under(id, [pattern], room);
    const keys: SealedKey[] = [];
    for (const { key, data } of found.values()) {
      const parsed = parseKey(key);
      if (parsed?.space !== "room_keys") {
        throw unknownKey(key, `Reading sealed keys of room ${id}`);
      }
      if (parsed.epoch <= room.epoch) keys.push(decodeSealedKey(key, parsed, data));
    }
    return keys.sort((a, b) => a.epoch - b.epoch || (a.endpoint < b.endpoint ? -1 : 1));
  }

  /** Rooms of an endpoint: all, only those accepted, or only offers. */
  async ofEndpoint(endpoint: string, accepted: boolean | null): Promise<Room[]> {
    const deadline = this.#context.deadline();
    const pattern = `rooms_by_member.${endpoint}.*`;
    const index = await this.#many([pattern], deadline);
    const rooms: Room[] = [];
    const keys: string[] = [];
    for (const { key, data } of index.values()) {
      const parsed = parseKey(key);
      if (parsed?.space !== "rooms_by_member") continue;
      if (accepted === null || isAccepted(key, data) === accepted) keys.push(roomKey(parsed.room));
    }
    for (let from = 0; from < keys.length; from += BATCH_LIMIT) {
      for (
        const it of (await this.#many(keys.slice(from, from + BATCH_LIMIT), deadline)).values()
      ) {
        const parsed = parseKey(it.key);
        if (parsed?.space !== "rooms") continue;
        const stored = decodeRoom(it.key, parsed.id, it.data);
        if (isVisible(stored)) rooms.push(stored.room);
      }
    }
    return rooms;
  }

  /** What matches, as of one point in time with the room; `not_found` for the room. */
  async #under(
    id: string,
    patterns: string[],
    into: { epoch: number } = { epoch: 0 },
  ): Promise<Map<string, Entry>> {
    const key = roomKey(id);
    const found = await this.#many([key, ...patterns], this.#context.deadline());
    const entry = found.get(key);
    const stored = entry && decodeRoom(key, id, entry.data);
    if (stored === undefined || !isVisible(stored)) throw notFound("room", id);
    into.epoch = stored.room.epoch;
    found.delete(key);
    return found;
  }

  async #many(patterns: string[], deadline: number): Promise<Map<string, Entry>> {
    try {
      return await this.#context.bucket.getMany(patterns, this.#context.floor, deadline);
    } catch (error) {
      if (!(error instanceof TooMany)) throw error;
      return await scanLive(this.#context, patterns, deadline);
    }
  }
}
