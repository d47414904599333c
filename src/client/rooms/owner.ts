/**
 * The owner's side of a room: creates and seals its keys, adds and removes members.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../core/errors.ts";
import type { Member, NewMember, Room, SealedKey } from "../../core/model.ts";
import { ROOM_KEY_BYTES, sealerOf, sealRoomKey } from "../../sealing/sealed_key.ts";
import { mapInTurns } from "../../core/async/in_turns.ts";
import * as check from "../../core/validate.ts";
import { isHandedOver } from "../../core/rules.ts";
import { randomBytes, toBase64url } from "../../keys/bytes.ts";
import { handoverBytes } from "../../keys/codec/handover.ts";
import type { Keyring } from "./keyring.ts";
import {
  demandAddedByOwner,
  keysOfNewMembers,
  membersOf,
  notAddedBy,
  sealedKeysOf,
  sealForAll,
} from "./membership.ts";
import type { RoomContext } from "./parts.ts";
import type { CardOrKeys, NewEncryptedRoom } from "./types.ts";
import type { ListedMember } from "../types.ts";

/** Keys that are looked at in one go. */
const AT_ONCE = 100;
/** Maximum number of retries of an operation that conflicts with another change of the room. */
const RETRIES = 10;

/** Creates a room with a new key sealed for all members; returns all three. */
export async function createRoom(
  context: RoomContext,
  { id, members = [], subject }: NewEncryptedRoom,
): Promise<{ room: Room; roomKey: Uint8Array; members: NewMember[] }> {
  const { client, keys, trust } = context;
  const { signPub: endpoint, kexPub } = keys;
  if (await trust.isKnown(id)) {
    throw new StoreError(
      "room_exists",
      `Room ${id} is known already, and keys that its owner sealed before would be valid again`,
      { hint: "choose another id" },
    );
  }
  const others = await keysOfNewMembers(members, context);
  const roomKey = newRoomKey();
  const place = { roomId: id, epoch: 1 };
  const all = [{ endpoint, kexPub }, ...others];
  const sealedKeys = await sealForAll(context, place, roomKey, all);
  const wanted = { id, encrypted: true, kexPub, members: others, sealedKeys };
  const room = await client.createRoom(subject === undefined ? wanted : { ...wanted, subject });
  // Otherwise we would send to someone else's room as if it were this one.
  if (room?.id === id && room.owner === endpoint && room.encrypted) {
    return { room, roomKey, members: all };
  }
  throw new StoreError("unsupported", `Creating room ${id}: the response is another room`);
}

function isNotRevoked({ status }: Pick<ListedMember, "status">): boolean {
  return status !== "revoked";
}

/**
 * Returns whether an endpoint that is not an active member has a key, or a former owner sealed one. Keys
 * must be read before members, or one added in the meantime looks like one that left.
 */
export async function needsNewKey(
  owner: string,
  keys: readonly SealedKey[],
  members: readonly ListedMember[],
): Promise<boolean> {
  const active = new Set(members.filter(isNotRevoked).map((it) => it.endpoint));
  if (active.size < members.length) return true;
  const isGood = ({ endpoint, sealedKey }: SealedKey) =>
    active.has(endpoint) && sealerOf(sealedKey) === owner;
  return (await mapInTurns(keys, isGood, AT_ONCE)).includes(false);
}

function newRoomKey(): Uint8Array {
  return randomBytes(ROOM_KEY_BYTES);
}

/** The owner of one room. Calls of its methods run one at a time. */
export class Owner {
  readonly #context: RoomContext;
  readonly #keyring: Keyring;
  #last: Promise<unknown> = Promise.resolve();

  /** Uses the keys of `keyring`. Sends nothing. */
  constructor(context: RoomContext, keyring: Keyring) {
    this.#context = context;
    this.#keyring = keyring;
  }

  /** See {@link OpenRoom.addMember}. */
  addMember(given: CardOrKeys): Promise<void> {
    return this.#next(async () => {
      const { client, trust, keys, primitives } = this.#context;
      const { roomId } = this.#keyring;
      const [member] = await keysOfNewMembers([given], this.#context);
      if (member === undefined) return;
      await this.#retry("Adding a member", async () => {
        const { epoch, current } = this.#keyring;
        const place = { roomId, epoch, ...member };
        const sealedKey = await sealRoomKey(primitives, keys, place, current);
        try {
          await client.addMember(roomId, member, { epoch, sealedKey });
        } catch (error) {
          if (!isStoreError(error, "member_exists")) throw error;
          const found = await client.getMember(roomId, member.endpoint);
          if (found?.endpoint !== member.endpoint) {
            throw new StoreError(
              "unsupported",
              `Reading member ${member.endpoint}: the response is another member`,
            );
          }
          await trust.kexPub(member.endpoint, found.kexPub);
          await client.putSealedKey({ roomId, epoch, endpoint: member.endpoint, sealedKey });
        }
        await trust.added(roomId, member.endpoint);
        if (this.#keyring.epoch === epoch) {
          this.#keyring.sealedFor.set(member.endpoint, member.kexPub);
        }
      });
    });
  }

  /** See {@link OpenRoom.removeMember}. */
  removeMember(member: string): Promise<void> {
    return this.#next(async () => {
      this.#demandOwner("Removing a member");
      const endpoint = check.signPub("endpoint", member);
      const { client, keys, trust } = this.#context;
      const { roomId, epoch } = this.#keyring;
      // First, because a malicious control plane may only claim to remove it. (Owners cannot be removed.)
      if (endpoint !== keys.signPub) await trust.removed(roomId, endpoint, epoch);
      try {
        await client.removeMember(roomId, endpoint);
      } catch (error) {
        // A retry after a failure between the removal and the rekey.
        if (isStoreError(error, "not_found") && await this.#rekeyIfNeeded()) return;
        throw error;
      }
      await this.#rekey(endpoint);
    });
  }

  /** See {@link OpenRoom.handOver}. */
  handOver(member: string): Promise<void> {
    return this.#next(async () => {
      const to = check.signPub("endpoint", member);
      const { client, keys, trust } = this.#context;
      const { roomId } = this.#keyring;
      await this.#keyring.refresh();
      this.#demandOwner("Handing over");
      // Once in an epoch, so that an earlier statement cannot be used again.
      if (await trust.handedOverAt(roomId) >= this.#keyring.epoch) await this.#rekey();
      const { epoch } = this.#keyring;
      const statement = { from: keys.signPub, to, epoch };
      const signature = toBase64url(await keys.signHandover(handoverBytes(roomId, statement)));
      const handover = { ...statement, signature };
      const what = `Handing over room ${roomId}`;
      let failure = new StoreError("unsupported", `${what}: the control plane did not do it`);
      let room: Room;
      try {
        room = await client.handOverRoom(roomId, handover);
      } catch (error) {
        // The outcome is unknown.
        if (!isStoreError(error, "unavailable")) throw error;
        failure = error;
        room = await client.getRoom(roomId);
      }
      await this.#keyring.take(room, epoch);
      if (!isHandedOver(room, handover)) throw failure;
    });
  }

  /** See {@link OpenRoom.rekey}. */
  rekey(): Promise<number> {
    return this.#next(() => this.#rekey());
  }

  /**
   * Creates a new key if an endpoint that is no longer an active member has the newest one, or if a former
   * owner sealed it: devices that never knew that owner would reject it.
   */
  rekeyIfNeeded(): Promise<boolean> {
    return this.#next(async () => this.#keyring.isOwner && await this.#rekeyIfNeeded());
  }

  async #rekeyIfNeeded(): Promise<boolean> {
    const keys = await this.sealedKeys();
    const { signPub } = this.#context.keys;
    if (!await needsNewKey(signPub, keys, await this.#members())) return false;
    await this.#rekey();
    return true;
  }

  /** See {@link OpenRoom.lacking}. */
  async lacking(): Promise<string[]> {
    const members = await this.#members();
    const keys = await this.sealedKeys();
    const { roomId, epoch } = this.#keyring;
    const sealers = await this.#context.trust.sealers(roomId, epoch);
    return await notAddedBy(this.#context.primitives, sealers, { roomId, epoch }, members, keys);
  }

  #members(): Promise<ListedMember[]> {
    return membersOf(this.#context.client, this.#keyring.roomId);
  }

  /** Removes members whose access was revoked, and returns the others. */
  async #membersToSealFor(): Promise<Member[]> {
    const { client, keys, trust } = this.#context;
    const { roomId, epoch } = this.#keyring;
    const active: Member[] = [];
    for (const member of await this.#members()) {
      const { endpoint } = member;
      if (isNotRevoked(member) || endpoint === keys.signPub) {
        active.push(member);
        continue;
      }
      await trust.removed(roomId, endpoint, epoch);
      try {
        await client.removeMember(roomId, endpoint);
      } catch (error) {
        if (!isStoreError(error, "not_found")) throw error;
      }
    }
    return active;
  }

  /** Lists the sealed keys of an epoch; default: the newest. */
  sealedKeys(epoch: number = this.#keyring.epoch): Promise<SealedKey[]> {
    return sealedKeysOf(this.#context.client, this.#keyring.roomId, epoch);
  }

  /** Returns those of the members for whom no owner sealed the key of an epoch. */
  async #notAdded(members: readonly Member[], epoch: number): Promise<string[]> {
    const { primitives, trust } = this.#context;
    const { roomId, sealedFor } = this.#keyring;
    const others = members.filter((it) => sealedFor.get(it.endpoint) !== it.kexPub);
    // What was sealed here need not be read back.
    if (others.length === 0) return [];
    const keys = await this.sealedKeys(epoch);
    const sealers = await trust.sealers(roomId, epoch);
    return await notAddedBy(primitives, sealers, { roomId, epoch }, others, keys);
  }

  #rekey(without?: string): Promise<number> {
    return this.#retry("Rekeying", async () => {
      const { client, trust } = this.#context;
      const { roomId } = this.#keyring;
      const before = this.#keyring.epoch;
      // Another program of the same identity may have sealed a key for it in the meantime.
      if (without !== undefined) await trust.removed(roomId, without, before);
      // Members are read first: each of them already had its key then.
      const members = await this.#membersToSealFor();
      const unknown = await this.#notAdded(members, before);
      try {
        await demandAddedByOwner(trust, { roomId, epoch: before }, members, unknown);
      } catch (error) {
        // One that was added after another program's rekey has no key of the epoch before.
        const { epoch: now } = await client.getRoom(roomId);
        if (now === before) throw error;
        throw new StoreError("conflict", `Room ${roomId} is at epoch ${now}`, { cause: error });
      }
      const epoch = before + 1;
      const roomKey = newRoomKey();
      const sealedKeys = await sealForAll(this.#context, { roomId, epoch }, roomKey, members);
      let room: Room;
      try {
        room = await client.rekeyRoom(roomId, { epoch, sealedKeys });
      } catch (error) {
        // The outcome is unknown: if the rekey has been done, it must not be repeated.
        if (!isStoreError(error, "unavailable")) throw error;
        if (!await this.#keyring.holds(epoch, roomKey).catch(() => false)) throw error;
        room = { ...this.#keyring.room, epoch };
      }
      await this.#keyring.put(room, epoch, roomKey, members);
      return epoch;
    });
  }

  /** Runs `work`, and again with the room as it is now if it conflicted with another change. */
  async #retry<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#demandOwner(what);
    for (let left = RETRIES;; left--) {
      try {
        return await work();
      } catch (error) {
        const isChanged = isStoreError(error, "conflict") || isStoreError(error, "missing_key");
        if (!isChanged || left === 0) throw error;
        await this.#keyring.refresh();
      }
    }
  }

  #demandOwner(what: string): void {
    if (this.#keyring.isOwner) return;
    const { roomId } = this.#keyring;
    throw new StoreError("forbidden", `${what} in room ${roomId}: only its owner can do that`);
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work);
    this.#last = run.catch(() => {});
    return run;
  }
}
