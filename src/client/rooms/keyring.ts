/**
 * The keys of a room that one member has: fetched, verified and cached.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../core/errors.ts";
import type { NewMember, Room } from "../../core/model.ts";
import { SealingError } from "../../sealing/error.ts";
import { openRoomKey, sealerOf } from "../../sealing/sealed_key.ts";
import * as check from "../../core/validate.ts";
import type { RoomContext } from "./parts.ts";
import type { Trust } from "./trust.ts";

/** Maximum number of cached keys; keys of older epochs are fetched again. */
const KEPT = 16;
const MISSING_MS = 5000;

/** The verified keys of a room. */
export class Keyring {
  readonly #context: RoomContext;
  readonly #keys = new Map<number, Uint8Array>();
  /** Epochs without a key for us, and when to ask for them again, by the monotonic clock. */
  readonly #missing = new Map<number, number>();
  /** Numbers of the last request for the room, and of the newest one whose answer was taken. */
  #asked = 0;
  #taken = 0;
  readonly roomId: string;
  /** The room as last read. */
  room!: Room;
  /** The epoch of the newest key. */
  epoch = 0;
  /** When the newest key arrived, by the monotonic clock. */
  since = 0;
  /** Called when there is a newer key. */
  onNewKey: () => void = () => {};
  /** The members for whom the newest key was sealed here: their X25519 keys by their endpoints. */
  sealedFor: Map<string, string> = new Map();

  /** Creates a keyring without keys. */
  constructor(context: RoomContext, roomId: string) {
    this.#context = context;
    this.roomId = roomId;
  }

  get #trust(): Trust {
    return this.#context.trust;
  }

  /** Whether this identity owns the room. */
  get isOwner(): boolean {
    return this.room.owner === this.#context.keys.signPub;
  }

  /**
   * Reads the room, and its newest key unless it is cached.
   *
   * @throws {SealingError} `wrong_sealer`; `rolled_back`; `tampered`; `unknown_epoch`; `removed`: the
   * identity was a member and no longer is
   */
  async refresh(): Promise<void> {
    const number = ++this.#asked;
    const atLeast = await this.#trust.epochOf(this.roomId);
    let room: Room;
    try {
      room = await this.#context.client.getRoom(this.roomId);
    } catch (error) {
      throw this.epoch > 0 ? removalOr(error, this.roomId) : error;
    }
    // Read before what is known: an owner of then would look like a new one.
    if (number < this.#taken) return await this.refresh();
    this.#taken = number;
    await this.#adopt(room, atLeast, number);
  }

  /** Verifies and adopts the room that a change has just returned; its epoch must be `atLeast` this. */
  async take(room: Room, atLeast: number): Promise<void> {
    const number = this.#taken = ++this.#asked;
    await this.#adopt(room, atLeast, number);
  }

  async #adopt(room: Room, atLeast: number, number: number): Promise<void> {
    try {
      // Above all its subject, to which messages are published.
      check.record("rooms", room);
    } catch (cause) {
      throw new StoreError(
        "unsupported",
        `Reading room ${this.roomId}: the response is not a room`,
        {
          cause,
        },
      );
    }
    const { id, epoch, owner, encrypted, handovers } = room;
    if (id !== this.roomId) {
      throw new StoreError(
        "unsupported",
        `Reading room ${this.roomId}: the response is room ${id}`,
      );
    }
    if (!encrypted) {
      throw new StoreError("invalid", `Room ${id} is cleartext and has no key`, {
        field: "roomId",
      });
    }
    // If we are the new owner, our own key replaces those of the former owner immediately.
    const until = owner === this.#context.keys.signPub ? epoch : undefined;
    await this.#trust.owner(id, owner, { until, handovers });
    this.#trust.demandEpoch(id, epoch, atLeast);
    // Responses may arrive out of order.
    if (epoch < this.epoch) return;
    if (epoch > this.epoch) {
      if (!this.#keys.has(epoch)) {
        const key = await this.#fetch(epoch);
        // We may have created it ourselves in the meantime.
        if (!this.#keys.has(epoch)) this.#keys.set(epoch, key);
      }
      await this.#trust.reached(id, epoch);
      if (epoch > this.epoch) this.#advance(epoch);
    }
    // A newer answer was taken while the key was fetched.
    if (number < this.#taken) return;
    await this.#trust.limitFormer(id, epoch);
    this.room = room;
  }

  /** Adds a key that was created and sealed for `members` here, and adopts the room at that epoch. */
  async put(
    room: Room,
    epoch: number,
    roomKey: Uint8Array,
    members: readonly NewMember[],
  ): Promise<void> {
    this.#keys.set(epoch, roomKey);
    await this.#adopt({ ...room, epoch }, epoch, this.#taken);
    if (this.epoch !== epoch) return;
    this.sealedFor = new Map(members.map(({ endpoint, kexPub }) => [endpoint, kexPub]));
  }

  #advance(epoch: number): void {
    this.epoch = epoch;
    this.since = performance.now();
    this.sealedFor = new Map();
    const oldest = [...this.#keys.keys()].sort((a, b) => b - a).slice(KEPT);
    for (const old of oldest) this.#keys.delete(old);
    this.onNewKey();
  }

  /** The newest key. */
  get current(): Uint8Array {
    return this.#keys.get(this.epoch)!;
  }

  /**
   * Returns the key of an epoch.
   *
   * @throws {SealingError} `unknown_epoch`: there is no key for this identity
   */
  async key(epoch: number): Promise<Uint8Array> {
    let key = this.#keys.get(epoch);
    if (key === undefined) {
      // Not fetched each time: any member can send messages that name any epoch.
      if ((this.#missing.get(epoch) ?? 0) > performance.now()) {
        throw unknownEpoch(this.roomId, epoch);
      }
      key = await this.#fetch(epoch);
      this.#keys.set(epoch, key);
      if (this.#keys.size > 2 * KEPT) this.#evict(epoch);
    }
    return key;
  }

  /** Removes cached keys, but neither the newest nor the one of epoch `kept`. */
  #evict(kept: number): void {
    for (const epoch of this.#keys.keys()) {
      if (this.#keys.size <= KEPT) return;
      if (epoch !== this.epoch && epoch !== kept) this.#keys.delete(epoch);
    }
  }

  /** Returns whether the control plane has exactly this key for an epoch. */
  async holds(epoch: number, roomKey: Uint8Array): Promise<boolean> {
    const found = await this.#fetch(epoch);
    return found.every((byte, i) => byte === roomKey[i]);
  }

  async #fetch(epoch: number): Promise<Uint8Array> {
    const { roomId } = this;
    let sealed: Uint8Array;
    try {
      ({ sealedKey: sealed } = await this.#context.client.getSealedKey(roomId, epoch));
    } catch (error) {
      if (!isStoreError(error, "not_found")) throw error;
      if (this.#missing.size >= KEPT) this.#missing.clear();
      this.#missing.set(epoch, performance.now() + MISSING_MS);
      throw unknownEpoch(roomId, epoch, error);
    }
    const { keys, primitives } = this.#context;
    const [owner, ...former] = await this.#trust.sealers(roomId, epoch);
    const sealer = former.find((it) => it === sealerOf(sealed)) ?? owner!;
    return await openRoomKey(primitives, keys, { roomId, epoch }, sealer, sealed);
  }
}

function unknownEpoch(roomId: string, epoch: number, cause?: unknown): SealingError {
  return new SealingError(
    "unknown_epoch",
    `Room ${roomId} has no key of epoch ${epoch} for this member`,
    { cause },
  );
}

/** Returns `removed` if the error means that the identity has lost access to the room, else the error. */
export function removalOr(error: unknown, roomId: string): unknown {
  if (!isStoreError(error, "not_found") && !isStoreError(error, "forbidden")) return error;
  const why = error.code === "forbidden"
    ? "its user is not active"
    : "it was removed, or the room was deleted";
  return new SealingError("removed", `This identity is not in room ${roomId}: ${why}`, {
    cause: error,
  });
}
