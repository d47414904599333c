/**
 * Remembers owners, epochs and keys, and rejects changes that the user did not accept.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { Turns } from "../../core/async/turns.ts";
import { orAbort } from "../../core/async/wait.ts";
import { SealingError } from "../../sealing/error.ts";
import type { Handover } from "../../core/model.ts";
import * as check from "../../core/validate.ts";
import { fromBase64url } from "../../keys/bytes.ts";
import { handoverBytes } from "../../keys/codec/handover.ts";
import type { OwnerChange, RoomMemory } from "./types.ts";

const SIGNATURE_BYTES = 64;

/** Options of a {@link Trust}. */
export interface TrustOptions {
  /** Asks whether to trust a room's new owner. Default: no. */
  acceptOwner?: ((change: OwnerChange) => boolean | Promise<boolean>) | undefined;
  /** Aborts the wait for an answer. */
  signal?: AbortSignal;
  /** Verifies an Ed25519 signature. Without it no hand-over is believed. */
  verifies?: (
    signPub: string,
    data: Uint8Array,
    signature: Uint8Array,
  ) => boolean | Promise<boolean>;
}

/** A former owner of a room. */
interface Former {
  owner: string;
  /** The last epoch whose key it may have sealed. */
  until: number;
  /** Whether it handed the room over then, by a signed statement. */
  handedOver?: boolean;
}

/** Compares values with those remembered, and remembers new ones. */
export class Trust {
  readonly #memory: RoomMemory;
  readonly #options: TrustOptions;
  /** Rooms for which `acceptOwner` is running. */
  readonly #asking = new Set<string>();
  /** Owner changes that were refused; they are not asked about again. */
  readonly #refused = new Set<string>();
  /** Serializes each read-modify-write of a key. */
  readonly #turns = new Turns();

  /** Starts with what the memory contains. */
  constructor(memory: RoomMemory, options: TrustOptions = {}) {
    this.#memory = memory;
    this.#options = { ...options };
  }

  /**
   * Verifies a peer's X25519 key, or remembers it.
   *
   * @param isSigned The peer itself says so: it replaces what the control plane said
   * @throws {SealingError} `key_changed`
   */
  async kexPub(endpoint: string, kexPub: string, isSigned = false): Promise<void> {
    const key = `kex ${endpoint}`;
    // Of thousands of members most are known: no turn is taken for these.
    const known = await this.#memory.get(key) ?? await this.#firstOr(key, kexPub);
    if (known === kexPub) return;
    if (isSigned) return void await this.#memory.set(key, kexPub);
    throw new SealingError(
      "key_changed",
      `The X25519 key of ${endpoint} is ${kexPub} now, and was ${known} before`,
    );
  }

  /**
   * Verifies a room's owner, or remembers it. If another one is known, it must have handed the room over,
   * directly or in steps, else the user is asked; the former owner's keys then stay valid up to epoch
   * `until` (default: the highest seen).
   *
   * @throws {SealingError} `wrong_sealer`: the user did not accept the new owner
   */
  owner(
    roomId: string,
    owner: string,
    { until, handovers = [] }: { until?: number | undefined; handovers?: Handover[] } = {},
  ): Promise<void> {
    const key = `owner ${roomId}`;
    return this.#turns.take(key, async () => {
      let known = await this.#memory.get(key);
      if (known === undefined) return void await this.#memory.set(key, owner);
      // Also if the owner is the known one: the room may have come back to it.
      for (const handover of handovers) {
        if (!await this.#continues(roomId, known, handover)) continue;
        const former = { owner: known, until: handover.epoch, handedOver: true };
        await this.#setOwner(roomId, known = handover.to, former);
      }
      if (known === owner) return;
      await this.#demandAccepted({ roomId, from: known, to: owner });
      const former = { owner: known, until: until ?? await this.epochOf(roomId) };
      await this.#setOwner(roomId, owner, former);
    });
  }

  /**
   * Forgets the owners and the epoch of a room: from now on `owner` owns it, and any epoch of its keys is
   * taken. Only if the user has confirmed the owner over another channel.
   */
  async startOver(roomId: string, owner: string): Promise<void> {
    await this.#turns.take(`owner ${roomId}`, async () => {
      await this.#memory.set(`former ${roomId}`, "[]");
      await this.#memory.set(`owner ${roomId}`, owner);
    });
    // Last: the epoch of another owner's keys protects nothing, and that of this owner's as long as it can.
    await this.#turns.take(`epoch ${roomId}`, async () => {
      await this.#memory.set(`epoch ${roomId}`, "0");
    });
  }

  async #setOwner(roomId: string, owner: string, former: Former): Promise<void> {
    const list = JSON.stringify([...await this.#former(roomId), former]);
    // Written first: if the process ends here, it is done again.
    await this.#memory.set(`former ${roomId}`, list);
    await this.#memory.set(`owner ${roomId}`, owner);
  }

  /**
   * Limits the former owners to an epoch whose key was verified: the epoch in a statement is what the one
   * who signed it says, who could name one far ahead to seal keys until then.
   */
  limitFormer(roomId: string, epoch: number): Promise<void> {
    return this.#turns.take(`owner ${roomId}`, async () => {
      const former = await this.#former(roomId);
      if (former.every(({ until }) => until <= epoch)) return;
      const limited = former.map((it) => ({ ...it, until: Math.min(it.until, epoch) }));
      await this.#memory.set(`former ${roomId}`, JSON.stringify(limited));
    });
  }

  /**
   * Returns whether the known owner of a room signed this statement, and made it after all that is known:
   * an earlier one is of a time before the room came back to this owner, or was never carried out.
   */
  async #continues(roomId: string, known: string, handover: Handover): Promise<boolean> {
    const { from, epoch } = handover;
    if (from !== known || epoch < await this.epochOf(roomId)) return false;
    const former = await this.#former(roomId);
    const last = former.at(-1);
    const wasBegun = last?.owner === known && last.until === epoch;
    if (epoch <= handedOverAt(former) && !wasBegun) return false;
    const signature = fromBase64url(handover.signature, SIGNATURE_BYTES);
    const { verifies = () => false } = this.#options;
    return signature !== null &&
      await verifies(known, handoverBytes(roomId, handover), signature);
  }

  /** Returns the epoch at which a room was handed over last; 0 if it was not. */
  async handedOverAt(roomId: string): Promise<number> {
    return handedOverAt(await this.#former(roomId));
  }

  /** Returns the endpoints that may have sealed the key of an epoch: the owner, then former owners. */
  async sealers(roomId: string, epoch: number): Promise<string[]> {
    const owner = await this.#memory.get(`owner ${roomId}`);
    const former = (await this.#former(roomId)).filter((it) => epoch <= it.until);
    return [...owner === undefined ? [] : [owner], ...former.map((it) => it.owner)];
  }

  /** Returns whether an owner or an epoch of the room is remembered. */
  async isKnown(roomId: string): Promise<boolean> {
    return await this.#memory.get(`owner ${roomId}`) !== undefined ||
      await this.epochOf(roomId) > 0;
  }

  /** Returns whether `acceptOwner` is running for a room. */
  isAsking(roomId: string): boolean {
    return this.#asking.has(roomId);
  }

  async #demandAccepted(change: OwnerChange): Promise<void> {
    const { roomId, from, to } = change;
    const { acceptOwner = () => false, signal } = this.#options;
    const refused = new SealingError(
      "wrong_sealer",
      `The owner of room ${roomId} is ${to} now, and was ${from} before; the change was not accepted`,
    );
    const name = `${to} ${roomId}`;
    if (this.#refused.has(name)) throw refused;
    this.#asking.add(roomId);
    try {
      if (await orAbort(acceptOwner({ ...change }), signal) === true) return;
      this.#refused.add(name);
    } finally {
      this.#asking.delete(roomId);
    }
    throw refused;
  }

  async #former(roomId: string): Promise<Former[]> {
    const text = await this.#memory.get(`former ${roomId}`);
    if (text === undefined) return [];
    try {
      return check.array("former", JSON.parse(text)).map((former) => {
        const { owner, until, handedOver = false } = check.object("former", former);
        return {
          owner: check.signPub("owner", owner),
          until: check.integer("until", until, 0, check.LIMITS.epoch),
          ...check.boolean("handedOver", handedOver) && { handedOver: true },
        };
      });
    } catch (cause) {
      throw new StoreError("corrupt", `Room memory: former ${roomId} is not a list of owners`, {
        cause,
      });
    }
  }

  /** Returns the highest epoch seen of a room; 0 if none was. */
  epochOf(roomId: string): Promise<number> {
    return this.#number(`epoch ${roomId}`);
  }

  /**
   * Verifies that a room's epoch is not lower than one seen before.
   *
   * @param atLeast The result of {@link epochOf} before the request, because responses may arrive out
   * of order
   * @throws {SealingError} `rolled_back`
   */
  demandEpoch(roomId: string, epoch: number, atLeast: number): void {
    if (epoch >= atLeast) return;
    throw new SealingError(
      "rolled_back",
      `The epoch of room ${roomId} is ${epoch} now, and was ${atLeast} before`,
    );
  }

  /** Remembers an epoch. Only for one with a key that the owner signed: an unsigned number proves nothing. */
  reached(roomId: string, epoch: number): Promise<void> {
    const key = `epoch ${roomId}`;
    return this.#turns.take(key, async () => {
      if (epoch > await this.#number(key)) await this.#memory.set(key, String(epoch));
    });
  }

  /** Remembers that this owner removed a member at `epoch`: later keys must not be sealed for it. */
  async removed(roomId: string, endpoint: string, epoch: number): Promise<void> {
    await this.#memory.set(removedKey(roomId, endpoint), String(epoch));
  }

  /** Remembers that this owner added a member, which may have been removed before. */
  async added(roomId: string, endpoint: string): Promise<void> {
    const key = removedKey(roomId, endpoint);
    if (await this.#number(key) > 0) await this.#memory.set(key, "0");
  }

  /** Returns whether this owner removed the member at `epoch` or later and did not add it again. */
  async isRemoved(roomId: string, endpoint: string, epoch: number): Promise<boolean> {
    return await this.#number(removedKey(roomId, endpoint)) >= epoch;
  }

  /** Returns a number; 0 if there is none. Malformed text is an error: 0 would forget what was there. */
  async #number(key: string): Promise<number> {
    const text = await this.#memory.get(key);
    if (text === undefined) return 0;
    if (/^\d{1,10}$/.test(text)) return Number(text);
    throw new StoreError("corrupt", `Room memory: ${key} is not a number`);
  }

  #firstOr(key: string, value: string): Promise<string> {
    return this.#turns.take(key, async () => {
      const known = await this.#memory.get(key);
      if (known !== undefined) return known;
      await this.#memory.set(key, value);
      return value;
    });
  }
}

function handedOverAt(former: readonly Former[]): number {
  return Math.max(0, ...former.filter((it) => it.handedOver).map((it) => it.until));
}

const removedKey = (roomId: string, endpoint: string) => `out ${roomId} ${endpoint}`;
