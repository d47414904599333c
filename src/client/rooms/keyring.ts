/**
 * The keys of a room as one member has them: asked for, made sure of, and kept.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../core/errors.ts";
import type { Room } from "../../core/model.ts";
import { SealingError } from "../../sealing/error.ts";
import { openRoomKey, sealerOf } from "../../sealing/sealed_key.ts";
import * as check from "../../core/validate.ts";
import type { Identity } from "../../keys/identity.ts";
import type { Trust } from "./trust.ts";
import type { Client } from "../types.ts";

/** Keys of epochs before the newest that are kept in memory; older ones are asked for again. */
const KEPT = 16;
const MISSING_MS = 5000;

/** The keys of a room. */
export class Keyring {
  readonly #client: Client;
  readonly #identity: Identity;
  readonly #trust: Trust;
  readonly #keys = new Map<number, Uint8Array>();
  /** Epochs that we have no key of, and until when that is believed, by the monotonic clock. */
  readonly #missing = new Map<number, number>();
  readonly roomId: string;
  /** The room as it was last seen. */
  room!: Room;
  /** The epoch of the newest key. */
  epoch = 0;
  /** When the newest key came, by the monotonic clock. */
  since = 0;

  /** Begins without keys. */
  constructor(client: Client, identity: Identity, trust: Trust, roomId: string) {
    this.#client = client;
    this.#identity = identity;
    this.#trust = trust;
    this.roomId = roomId;
  }

  /** Whether we own the room. */
  get isOwner(): boolean {
    return this.room.owner === this.#identity.signPub;
  }

  /**
   * Asks for the room, and for its newest key where that is not here yet.
   *
   * @throws {SealingError} `wrong_sealer`, `rolled_back`, `tampered`, `unknown_epoch`; `removed` where we
   * were in the room and are not now
   */
  async refresh(): Promise<void> {
    const atLeast = await this.#trust.epochOf(this.roomId);
    let room: Room;
    try {
      room = await this.#client.getRoom(this.roomId);
    } catch (error) {
      throw this.epoch > 0 ? removalOr(error, this.roomId) : error;
    }
    await this.take(room, atLeast);
  }

  /** Takes the room as the control plane says it is, `atLeast` at this epoch. */
  async take(room: Room, atLeast: number): Promise<void> {
    try {
      // Its subject above all: we publish there.
      check.record("rooms", room);
    } catch (cause) {
      throw new StoreError("unsupported", `The answer for room ${this.roomId} is no room`, {
        cause,
      });
    }
    const { id, epoch, owner, encrypted } = room;
    if (id !== this.roomId) {
      throw new StoreError("unsupported", `Asked for the room ${this.roomId}, found ${id}`);
    }
    if (!encrypted) {
      throw new StoreError("invalid", `Room ${id} is cleartext and has no key`, {
        field: "roomId",
      });
    }
    // A new owner ends at once with its own key what it got from the one before.
    await this.#trust.owner(id, owner, owner === this.#identity.signPub ? epoch : undefined);
    this.#trust.demandEpoch(id, epoch, atLeast);
    // Two answers may come in another order than they were given.
    if (epoch < this.epoch) return;
    if (epoch > this.epoch) {
      if (!this.#keys.has(epoch)) {
        const key = await this.#fetch(epoch);
        // Unless we made it ourselves meanwhile.
        if (!this.#keys.has(epoch)) this.#keys.set(epoch, key);
      }
      await this.#trust.reached(id, epoch);
      if (epoch > this.epoch) this.#advance(epoch);
    }
    this.room = room;
  }

  /** Takes a key that we made ourselves for an epoch, and the room as it then is. */
  async put(room: Room, epoch: number, roomKey: Uint8Array): Promise<void> {
    this.#keys.set(epoch, roomKey);
    await this.take({ ...room, epoch }, epoch);
  }

  #advance(epoch: number): void {
    this.epoch = epoch;
    this.since = performance.now();
    const oldest = [...this.#keys.keys()].sort((a, b) => b - a).slice(KEPT);
    for (const it of oldest) this.#keys.delete(it);
  }

  /** The newest key. */
  get current(): Uint8Array {
    return this.#keys.get(this.epoch)!;
  }

  /** The key of an epoch. `unknown_epoch` where there is none for us. */
  async key(epoch: number): Promise<Uint8Array> {
    let key = this.#keys.get(epoch);
    if (key === undefined) {
      // Anybody in the room may name any epoch, as often as they like.
      if ((this.#missing.get(epoch) ?? 0) > performance.now()) {
        throw unknownEpoch(this.roomId, epoch);
      }
      key = await this.#fetch(epoch);
      this.#keys.set(epoch, key);
      if (this.#keys.size > 2 * KEPT) this.#advanceOver(epoch);
    }
    return key;
  }

  /** Makes place for the key of an old epoch that was just asked for. */
  #advanceOver(kept: number): void {
    for (const it of this.#keys.keys()) {
      if (this.#keys.size <= KEPT) return;
      if (it !== this.epoch && it !== kept) this.#keys.delete(it);
    }
  }

  /** Whether the control plane has exactly this key of ours for an epoch. */
  async holds(epoch: number, roomKey: Uint8Array): Promise<boolean> {
    const found = await this.#fetch(epoch);
    return found.every((it, i) => it === roomKey[i]);
  }

  async #fetch(epoch: number): Promise<Uint8Array> {
    const { roomId } = this;
    let sealed: Uint8Array;
    try {
      ({ sealedKey: sealed } = await this.#client.getSealedKey(roomId, epoch));
    } catch (error) {
      if (!isStoreError(error, "not_found")) throw error;
      if (this.#missing.size >= KEPT) this.#missing.clear();
      this.#missing.set(epoch, performance.now() + MISSING_MS);
      throw unknownEpoch(roomId, epoch, error);
    }
    const [owner, ...former] = await this.#trust.sealers(roomId, epoch);
    const sealer = former.find((it) => it === sealerOf(sealed)) ?? owner!;
    return await openRoomKey(this.#identity, { roomId, epoch }, sealer, sealed);
  }
}

function unknownEpoch(roomId: string, epoch: number, cause?: unknown): SealingError {
  return new SealingError(
    "unknown_epoch",
    `Room ${roomId} has no key of epoch ${epoch} for this member`,
    { cause },
  );
}

/** What a refusal by the control plane says of a room we were in. */
export function removalOr(error: unknown, roomId: string): unknown {
  if (!isStoreError(error, "not_found") && !isStoreError(error, "forbidden")) return error;
  const why = error.code === "forbidden" ? "it is no active user's" : "it was taken out";
  return new SealingError("removed", `This member is not in room ${roomId}: ${why}`, {
    cause: error,
  });
}
