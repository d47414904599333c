/**
 * Transactions of rooms, members and sealed keys.
 *
 * The room's message is its lock: every change of the room, its members or its epoch writes it with
 * compare-and-set, and a single sealed key is written on the condition that it has not changed. A
 * change that is too large for one batch claims the room first: see claims.ts.
 *
 * @module
 */

import { type Author, did } from "../../core/history/entry.ts";
import type { Handover, Member, Room, SealedKey } from "../../core/model.ts";
import {
  afterHandover,
  afterWaiting,
  handoverProblem,
  isHandedOver,
  memberExists,
  newMemberKeyProblem,
  noMember,
  notFound,
  ownerChangeProblem,
  rekeyProblem,
  removalProblem,
  roomExists,
  sealedKeyProblem,
} from "../../core/rules.ts";
import { alive, revisionOf, type Write } from "../log/bucket.ts";
import { Claims, type Read, visible } from "./claims.ts";
import type { Budget, Change, Context } from "./context.ts";
import type { Reads } from "../log/fence.ts";
import {
  encodeToken,
  indexKey,
  memberKey,
  parseKey,
  roomKey,
  sealedKeyKey,
  userKey,
} from "../records/keys.ts";
import {
  decodeMember,
  decodeUser,
  encodeIndex,
  encodeMember,
  encodeRoom,
  encodeSealedKey,
  encodeUser,
  isVisible,
  type StoredRoom,
} from "../records/values.ts";
import { Ambiguous, WrongRevision } from "../log/wire.ts";

function isUnclaimed(it: StoredRoom): boolean {
  return it.pending === null;
}

/** @param expect The required revision of the member; any if undefined */
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

/** Write operations of rooms. */
export class RoomTransactions {
  readonly #context: Context;
  readonly #claims: Claims;

  constructor(context: Context) {
    this.#context = context;
    this.#claims = new Claims(context);
  }

  async #readVisible(
    id: string,
    deadline: number,
    reads: Reads,
  ): Promise<{ room: Room; at: Read }> {
    const at = await this.#claims.read(id, deadline, reads);
    const room = visible(at);
    if (room === null) throw notFound("room", id);
    return { room, at };
  }

  /** Writes the room, unchanged unless `next` is set: takes the lock and invalidates any claim. */
  #touch({ stored, revision }: Read, next: Room = stored!.room): Write {
    return { key: roomKey(next.id), value: encodeRoom(next, stored!.pending), expect: revision };
  }

  create(room: Room, members: Member[], keys: SealedKey[], author: Author): Promise<void> {
    const { id } = room;
    const what = `Create room ${id}`;
    return this.#context.transact(what, roomKey(id), async (_, reads, budget) => {
      const at = await this.#claims.settled(id, reads, budget, isVisible);
      if (visible(at) !== null) throw roomExists(id);
      // The remains of an unfinished change.
      const revision = at.stored === null ? at.revision : await this.#claims.purge(at, budget);
      if (revision === null) throw new WrongRevision(`Another process is cleaning up room ${id}`);
      const claim = encodeRoom(room, { op: "create" });
      const writes = [...members.flatMap((it) => memberWrites(it)), ...keys.map(keyWrite)];
      const change = { author, draft: did.roomCreated(room, members.length) };
      await this.#claims.write(id, revision, claim, encodeRoom(room), writes, budget, change);
    });
  }

  delete(id: string, author: Author): Promise<void> {
    const what = `Delete room ${id}`;
    return this.#context.transact(what, roomKey(id), async (_, reads, budget) => {
      const at = await this.#claims.settled(id, reads, budget, isVisible);
      if (at.stored === null) throw notFound("room", id);
      const change = { author, draft: did.roomDeleted(id) };
      await this.#claims.purge(at, budget, isVisible(at.stored) ? change : undefined);
      if (at.stored.pending?.op === "delete") {
        // The room was hidden since the start of an unfinished deletion, which is now complete.
        reads.forget();
        throw notFound("room", id);
      }
    });
  }

  add(member: Member, key: SealedKey | null, author: Author): Promise<void> {
    const { roomId: id, endpoint } = member;
    return this.#context.transact(
      `Add member to room ${id}`,
      roomKey(id),
      async (deadline, reads) => {
        const { room, at } = await this.#readVisible(id, deadline, reads);
        const [there, waiting] = await Promise.all([
          reads.get(memberKey(id, endpoint), deadline),
          this.#endWaiting(id, endpoint, deadline, reads),
        ]);
        if (alive(there) !== null) throw memberExists(id, endpoint);
        const problem = key && newMemberKeyProblem(room, key);
        if (problem !== null) throw problem;
        const writes = [this.#touch(at), ...memberWrites(member), ...waiting];
        if (key !== null) writes.push(keyWrite(key));
        const change = { author, draft: did.memberAdded(member) };
        await this.#context.commit(writes, deadline, change);
      },
    );
  }

  /** Writes only the member, at its revision: many can join a room at the same time. */
  join(id: string, endpoint: string, author: Author): Promise<Member> {
    const key = memberKey(id, endpoint);
    return this.#context.transact(`Join room ${id}`, key, async (deadline, reads) => {
      await this.#readVisible(id, deadline, reads);
      const { member, revision } = await this.#readMember(id, endpoint, deadline, reads);
      if (member.accepted) {
        await this.#context.confirm(reads, deadline);
        return member;
      }
      const joined: Member = { ...member, accepted: true };
      const change = { author, draft: did.memberJoined(id, endpoint) };
      await this.#context.commit(memberWrites(joined, revision), deadline, change);
      return joined;
    });
  }

  changeOwner(id: string, endpoint: string, author: Author): Promise<Room> {
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
        await this.#context.commit(
          [
            this.#touch(at, next),
            ...memberWrites({ ...member, role: "owner" }, revision),
            // Fails if the former owner's access is restored meanwhile.
            {
              key: memberKey(id, former),
              value: null,
              guard: { key, revision: revisionOf(entry) },
            },
            { key: indexKey(former, id), value: null },
          ],
          deadline,
          { author, draft: did.ownerChanged(room, endpoint) },
        );
        return next;
      },
    );
  }

  handOver(id: string, handover: Handover, author: Author): Promise<Room> {
    const { from, to } = handover;
    return this.#context.transact(
      `Hand over room ${id}`,
      roomKey(id),
      async (deadline, reads) => {
        const { room, at } = await this.#readVisible(id, deadline, reads);
        const { member, revision } = await this.#readMember(id, to, deadline, reads);
        if (isHandedOver(room, handover)) {
          await this.#context.confirm(reads, deadline);
          return room;
        }
        const sealed = await reads.get(sealedKeyKey(id, room.epoch, to), deadline);
        const problem = handoverProblem(room, handover, member, alive(sealed) !== null);
        if (problem !== null) throw problem;
        const former = await this.#readMember(id, from, deadline, reads);
        const next = afterHandover(room, handover);
        await this.#context.commit(
          [
            this.#touch(at, next),
            ...memberWrites({ ...member, role: "owner" }, revision),
            ...memberWrites({ ...former.member, role: "member" }, former.revision),
          ],
          deadline,
          { author, draft: did.ownerChanged(room, to) },
        );
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
    if (entry === null) throw noMember(id, endpoint);
    return { member: decodeMember(key, id, endpoint, entry.data), revision: entry.revision };
  }

  remove(id: string, endpoint: string, author: Author): Promise<void> {
    return this.#context.transact(
      `Remove member of room ${id}`,
      roomKey(id),
      async (deadline, reads) => {
        const { room, at } = await this.#readVisible(id, deadline, reads);
        const problem = removalProblem(room, endpoint);
        if (problem !== null) throw problem;
        const [there, waiting] = await Promise.all([
          reads.get(memberKey(id, endpoint), deadline),
          this.#endWaiting(id, endpoint, deadline, reads),
        ]);
        if (alive(there) === null) throw noMember(id, endpoint);
        await this.#context.commit(
          [
            this.#touch(at),
            { key: memberKey(id, endpoint), value: null },
            { key: indexKey(endpoint, id), value: null },
            ...waiting,
          ],
          deadline,
          { author, draft: did.memberRemoved(id, endpoint) },
        );
      },
    );
  }

  /** Returns the write of the member's user, if it waits for the room. */
  async #endWaiting(
    id: string,
    endpoint: string,
    deadline: number,
    reads: Reads,
  ): Promise<Write[]> {
    const key = userKey(endpoint);
    const entry = alive(await reads.get(key, deadline));
    const user = entry && decodeUser(key, endpoint, entry.data);
    if (user?.invitedTo !== id) return [];
    return [{ key, value: encodeUser(afterWaiting(user)), expect: entry!.revision }];
  }

  rekey(id: string, epoch: number, keys: SealedKey[], author: Author): Promise<Room> {
    return this.#context.transact(`Rekey room ${id}`, roomKey(id), async (_, reads, budget) => {
      const at = await this.#claims.settled(id, reads, budget, isUnclaimed);
      const room = visible(at);
      if (room === null) throw notFound("room", id);
      const members = new Set<string>();
      const pattern = `members.${encodeToken(id)}.*`;
      for (const key of await this.#claims.keysUnder([pattern], at.revision, budget)) {
        const parsed = parseKey(key);
        if (parsed?.space === "members") members.add(parsed.endpoint);
      }
      const problem = rekeyProblem(room, members, epoch, keys.map((it) => it.endpoint));
      if (problem !== null) throw problem;
      const next: Room = { ...room, epoch };
      const change = { author, draft: did.rekeyed(room, epoch) };
      await this.#rekey(room, next, at, keys.map(keyWrite), budget, change);
      return next;
    });
  }

  /**
   * Writes `next` and its sealed keys, and removes those of an unfinished rekey, which may include
   * former members.
   */
  async #rekey(
    room: Room,
    next: Room,
    at: Read,
    writes: Write[],
    budget: Budget,
    change?: Change,
  ): Promise<void> {
    if (at.stored!.pending !== null) {
      const written = new Set(writes.map((it) => it.key));
      const pattern = `room_keys.${encodeToken(room.id)}.${room.epoch + 1}.*`;
      for (const key of await this.#claims.keysUnder([pattern], at.revision, budget)) {
        if (!written.has(key)) writes.push({ key, value: null });
      }
    }
    const claim = encodeRoom(room, { op: "rekey" });
    await this.#claims.write(room.id, at.revision, claim, encodeRoom(next), writes, budget, change);
  }

  putKey(key: SealedKey, author: Author): Promise<void> {
    const { roomId: id, endpoint, epoch } = key;
    const change = { author, draft: did.keyStored(id, endpoint, epoch) };
    let touch = false;
    return this.#context.transact(
      `Put sealed key of room ${id}`,
      roomKey(id),
      async (deadline, reads) => {
        const { room, at } = await this.#readVisible(id, deadline, reads);
        const there = await reads.get(memberKey(id, endpoint), deadline);
        if (alive(there) === null) throw noMember(id, endpoint);
        const problem = sealedKeyProblem(room, epoch);
        if (problem !== null) throw problem;
        if (touch) {
          await this.#context.commit([this.#touch(at), keyWrite(key)], deadline, change);
          return;
        }
        const guard = { key: roomKey(id), revision: at.revision };
        try {
          await this.#context.commit([{ ...keyWrite(key), guard }], deadline, change);
        } catch (error) {
          if (!(error instanceof Ambiguous)) throw error;
          // From now on the room is written too, which makes the first attempt fail if it is still
          // pending.
          touch = true;
          throw new WrongRevision("outcome open", { cause: error });
        }
      },
    );
  }

  /** Reverts an abandoned change; completes it if it was a deletion. */
  async cleanUp(id: string): Promise<void> {
    await this.#context.transact(`Clean up room ${id}`, roomKey(id), async (_, reads, budget) => {
      const at = await this.#claims.settled(id, reads, budget, isUnclaimed);
      if (at.stored === null || isUnclaimed(at.stored)) return;
      const { room } = at.stored;
      if (isVisible(at.stored)) await this.#rekey(room, room, at, [], budget);
      else await this.#claims.purge(at, budget);
    });
  }
}
