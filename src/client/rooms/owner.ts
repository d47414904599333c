/**
 * What the owner of a room does: makes its keys, seals them, lets in and takes out.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { isStoreError, StoreError } from "../../core/errors.ts";
import type { Member, Room, SealedKey } from "../../core/model.ts";
import { ROOM_KEY_BYTES, sealRoomKey } from "../../sealing/sealed_key.ts";
import * as check from "../../core/validate.ts";
import type { Identity } from "../../keys/identity.ts";
import type { Keyring } from "./keyring.ts";
import {
  demandLetIn,
  keysOfInvitees,
  membersOf,
  notLetIn,
  sealedKeysOf,
  sealForAll,
} from "./membership.ts";
import type { Invitee, NewEncryptedRoom } from "./types.ts";
import type { Trust } from "./trust.ts";
import type { Client, ListedMember } from "../types.ts";

/** Tries of what another change of the room got in the way of. */
const TRIES = 10;

/** What an owner works with. */
export interface OwnerOptions {
  client: Client;
  identity: Identity;
  trust: Trust;
}

/** Makes a room with a fresh key, sealed for everybody; gives both. */
export async function makeRoom(
  { client, identity, trust }: OwnerOptions,
  { id, members = [], subject }: NewEncryptedRoom,
): Promise<{ room: Room; roomKey: Uint8Array }> {
  const { signPub: endpoint, kexPub } = identity;
  if (await trust.epochOf(id) > 0) {
    throw new StoreError(
      "room_exists",
      `Room ${id} was there before: what its owner sealed then would fit again, so take another id`,
    );
  }
  const others = await keysOfInvitees(members, client, trust);
  const roomKey = newRoomKey();
  const place = { roomId: id, epoch: 1 };
  const everybody = [{ endpoint, kexPub }, ...others];
  const sealedKeys = await sealForAll(identity, place, roomKey, everybody);
  const wanted = { id, encrypted: true, kexPub, members: others, sealedKeys };
  const room = await client.createRoom(subject === undefined ? wanted : { ...wanted, subject });
  // Else we would talk in a room of others as if it were this one.
  if (room?.id === id && room.owner === endpoint && room.encrypted) return { room, roomKey };
  throw new StoreError("unsupported", `Asked for a new room ${id}, found another`);
}

function isNotRevoked({ status }: Pick<ListedMember, "status">): boolean {
  return status !== "revoked";
}

function newRoomKey(): Uint8Array {
  return new Uint8Array(randomBytes(ROOM_KEY_BYTES));
}

/** The owner of one room. Its methods come one after another. */
export class Owner {
  readonly #options: OwnerOptions;
  readonly #keyring: Keyring;
  #last: Promise<unknown> = Promise.resolve();

  /** Begins. */
  constructor(options: OwnerOptions, keyring: Keyring) {
    this.#options = options;
    this.#keyring = keyring;
  }

  /** Puts somebody in, or seals the newest key anew for who is in. */
  invite(who: Invitee): Promise<void> {
    return this.#next(async () => {
      const { client, trust, identity } = this.#options;
      const { roomId } = this.#keyring;
      const [member] = await keysOfInvitees([who], client, trust);
      if (member === undefined) return;
      await this.#retry("Inviting", async () => {
        const { epoch, current } = this.#keyring;
        const place = { roomId, epoch, ...member };
        const sealedKey = await sealRoomKey(identity, place, current);
        try {
          await client.addMember(roomId, member, { epoch, sealedKey });
        } catch (error) {
          if (!isStoreError(error, "member_exists")) throw error;
          const found = await client.getMember(roomId, member.endpoint);
          if (found?.endpoint !== member.endpoint) {
            throw new StoreError(
              "unsupported",
              `Asked for the member ${member.endpoint}, found another`,
            );
          }
          await trust.kexPub(member.endpoint, found.kexPub);
          await client.putSealedKey({ roomId, epoch, endpoint: member.endpoint, sealedKey });
        }
        await trust.letIn(roomId, member.endpoint);
      });
    });
  }

  /** Takes a member out, and gives those who stay a new key. */
  removeMember(who: string): Promise<void> {
    return this.#next(async () => {
      this.#demandOwner("Taking out a member");
      const endpoint = check.signPub("endpoint", who);
      const { client, identity, trust } = this.#options;
      const { roomId, epoch } = this.#keyring;
      // Whoever is asked may say that it is done, and not do it. (Oneself cannot be taken out.)
      if (endpoint !== identity.signPub) await trust.takenOut(roomId, endpoint, epoch);
      try {
        await client.removeMember(roomId, endpoint);
      } catch (error) {
        // Somebody may have been cut off between the two, and try again.
        if (isStoreError(error, "not_found") && await this.#rekeyIfLeft()) return;
        throw error;
      }
      await this.#rekey(endpoint);
    });
  }

  /** Gives everybody a new key. */
  rekey(): Promise<number> {
    return this.#next(() => this.#rekey());
  }

  /** A new key where somebody has the newest one who is no longer in the room. */
  rekeyIfLeft(): Promise<boolean> {
    return this.#next(() => this.#rekeyIfLeft());
  }

  async #rekeyIfLeft(): Promise<boolean> {
    // The keys first: whoever is invited meanwhile must not look like one who left.
    const keys = await this.#keys();
    const members = await this.#members();
    const staying = new Set(members.filter(isNotRevoked).map((it) => it.endpoint));
    if (staying.size === members.length && keys.every((it) => staying.has(it.endpoint))) {
      return false;
    }
    await this.#rekey();
    return true;
  }

  /** The members without a key of the newest epoch that we sealed for them. */
  async lacking(): Promise<string[]> {
    const members = await this.#members();
    const keys = await this.#keys();
    const { roomId, epoch } = this.#keyring;
    const sealers = await this.#options.trust.sealers(roomId, epoch);
    return await notLetIn(sealers, { roomId, epoch }, members, keys);
  }

  #members(): Promise<ListedMember[]> {
    return membersOf(this.#options.client, this.#keyring.roomId);
  }

  /** The members, after those whose access was revoked have been taken out: no new key is for them. */
  async #membersToSealFor(): Promise<Member[]> {
    const { client, identity, trust } = this.#options;
    const { roomId, epoch } = this.#keyring;
    const staying: Member[] = [];
    for (const it of await this.#members()) {
      if (isNotRevoked(it) || it.endpoint === identity.signPub) {
        staying.push(it);
        continue;
      }
      await trust.takenOut(roomId, it.endpoint, epoch);
      try {
        await client.removeMember(roomId, it.endpoint);
      } catch (error) {
        if (!isStoreError(error, "not_found")) throw error;
      }
    }
    return staying;
  }

  #keys(epoch: number = this.#keyring.epoch): Promise<SealedKey[]> {
    return sealedKeysOf(this.#options.client, this.#keyring.roomId, epoch);
  }

  #rekey(without?: string): Promise<number> {
    return this.#retry("Rekeying", async () => {
      const { client, identity, trust } = this.#options;
      const { roomId } = this.#keyring;
      const before = this.#keyring.epoch;
      // Another program of ours may have sealed a key for it meanwhile.
      if (without !== undefined) await trust.takenOut(roomId, without, before);
      // The members first: whoever is among them had its key before.
      const members = await this.#membersToSealFor();
      const keys = await this.#keys(before);
      const sealers = await trust.sealers(roomId, before);
      await demandLetIn(sealers, { roomId, epoch: before }, members, keys, trust);
      const epoch = before + 1;
      const roomKey = newRoomKey();
      const sealedKeys = await sealForAll(identity, { roomId, epoch }, roomKey, members);
      let room: Room;
      try {
        room = await client.rekeyRoom(roomId, { epoch, sealedKeys });
      } catch (error) {
        // It may have been done: then it is not to be done again.
        if (!isStoreError(error, "unavailable")) throw error;
        if (!await this.#keyring.holds(epoch, roomKey).catch(() => false)) throw error;
        room = { ...this.#keyring.room, epoch };
      }
      await this.#keyring.put(room, epoch, roomKey);
      return epoch;
    });
  }

  /** Again where the room was changed meanwhile: read, and decide anew. */
  async #retry<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#demandOwner(what);
    for (let left = TRIES;; left--) {
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
    throw new StoreError("forbidden", `${what} in room ${roomId}: only its owner may do that`);
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work);
    this.#last = run.catch(() => {});
    return run;
  }
}
