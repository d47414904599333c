/**
 * What is known of others, and must not change without somebody saying so.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { orAbort } from "../../core/async/wait.ts";
import { SealingError } from "../../sealing/error.ts";
import * as check from "../../core/validate.ts";
import type { OwnerChange, RoomMemory } from "./types.ts";

/** What {@link Trust} takes besides the memory. */
export interface TrustOptions {
  /** Asks whether a room's new owner is to be trusted. Default: no. */
  acceptOwner?: ((change: OwnerChange) => boolean | Promise<boolean>) | undefined;
  /** Ends the wait for an answer. */
  signal?: AbortSignal;
}

/** Compares with what was known before; what is new is remembered. */
export class Trust {
  readonly #memory: RoomMemory;
  readonly #options: TrustOptions;
  /** Rooms about whose owner somebody is being asked. */
  readonly #asking = new Set<string>();
  /** What was answered with no, which is not asked again. */
  readonly #refused = new Set<string>();
  /** Who reads and writes under a name comes after who did before: each writes what follows from both. */
  readonly #turns = new Map<string, Promise<void>>();

  /** Begins with what a memory holds. */
  constructor(memory: RoomMemory, options: TrustOptions = {}) {
    this.#memory = memory;
    this.#options = { ...options };
  }

  /** A peer's X25519 key. */
  async kexPub(endpoint: string, kexPub: string): Promise<void> {
    const known = await this.#firstOr(`kex ${endpoint}`, kexPub);
    if (known === kexPub) return;
    throw new SealingError(
      "key_changed",
      `The X25519 key of ${endpoint} is said to be ${kexPub}, and was ${known}`,
    );
  }

  /**
   * A room's owner. Where another one was known, the person is asked; keys up to the epoch `until` (by
   * default the highest seen) may be of the former one still.
   */
  owner(roomId: string, owner: string, until?: number): Promise<void> {
    const key = `owner ${roomId}`;
    return this.#turn(key, async () => {
      const known = await this.#memory.get(key);
      if (known === owner) return;
      if (known !== undefined) {
        await this.#demandAccepted({ roomId, from: known, to: owner });
        const former = { owner: known, until: until ?? await this.epochOf(roomId) };
        const list = JSON.stringify([...await this.#former(roomId), former]);
        // First: if it ends here, the person is asked again.
        await this.#memory.set(`former ${roomId}`, list);
      }
      await this.#memory.set(key, owner);
    });
  }

  /** Who may have sealed the key of an epoch: the owner, then those before it. */
  async sealers(roomId: string, epoch: number): Promise<string[]> {
    const owner = await this.#memory.get(`owner ${roomId}`);
    const former = (await this.#former(roomId)).filter((it) => epoch <= it.until);
    return [...owner === undefined ? [] : [owner], ...former.map((it) => it.owner)];
  }

  /** Whether somebody is being asked about a room's owner. */
  isAsking(roomId: string): boolean {
    return this.#asking.has(roomId);
  }

  async #demandAccepted(change: OwnerChange): Promise<void> {
    const { roomId, from, to } = change;
    const { acceptOwner = () => false, signal } = this.#options;
    const refused = new SealingError(
      "wrong_sealer",
      `The owner of room ${roomId} is said to be ${to}, and was ${from}`,
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

  async #former(roomId: string): Promise<{ owner: string; until: number }[]> {
    const text = await this.#memory.get(`former ${roomId}`);
    if (text === undefined) return [];
    try {
      return check.array("former", JSON.parse(text)).map((it) => {
        const { owner, until } = check.object("former", it);
        return {
          owner: check.signPub("owner", owner),
          until: check.integer("until", until, 0, check.LIMITS.epoch),
        };
      });
    } catch (cause) {
      throw new StoreError(
        "corrupt",
        `The memory of rooms holds no owners under former ${roomId}`,
        {
          cause,
        },
      );
    }
  }

  /** The highest epoch that was seen of a room; 0 where none was. */
  epochOf(roomId: string): Promise<number> {
    return this.#number(`epoch ${roomId}`);
  }

  /**
   * Makes sure that a room's epoch does not go back.
   *
   * @param atLeast What {@link epochOf} was when it was asked for: answers may overtake each other
   */
  demandEpoch(roomId: string, epoch: number, atLeast: number): void {
    if (epoch >= atLeast) return;
    throw new SealingError(
      "rolled_back",
      `The epoch of room ${roomId} is said to be ${epoch}, and was ${atLeast}`,
    );
  }

  /** Remembers an epoch that the owner's signature speaks for: said alone, it could be any. */
  reached(roomId: string, epoch: number): Promise<void> {
    const key = `epoch ${roomId}`;
    return this.#turn(key, async () => {
      if (epoch > await this.#number(key)) await this.#memory.set(key, String(epoch));
    });
  }

  /** Remembers that we took somebody out, who has the key of this epoch: no key after it is for them. */
  async takenOut(roomId: string, endpoint: string, epoch: number): Promise<void> {
    await this.#memory.set(outKey(roomId, endpoint), String(epoch));
  }

  /** Forgets that: we let them in again. */
  async letIn(roomId: string, endpoint: string): Promise<void> {
    const key = outKey(roomId, endpoint);
    if (await this.#number(key) > 0) await this.#memory.set(key, "0");
  }

  /** Whether we took somebody out in this epoch, or a later one, and did not let them in again. */
  async isOut(roomId: string, endpoint: string, epoch: number): Promise<boolean> {
    return await this.#number(outKey(roomId, endpoint)) >= epoch;
  }

  /** A number; 0 where there is none. What is none there is not taken for it: it would be forgetting. */
  async #number(key: string): Promise<number> {
    const text = await this.#memory.get(key);
    if (text === undefined) return 0;
    if (/^\d{1,10}$/.test(text)) return Number(text);
    throw new StoreError("corrupt", `The memory of rooms holds no number under ${key}`);
  }

  #firstOr(key: string, value: string): Promise<string> {
    return this.#turn(key, async () => {
      const known = await this.#memory.get(key);
      if (known !== undefined) return known;
      await this.#memory.set(key, value);
      return value;
    });
  }

  #turn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const run = (this.#turns.get(key) ?? Promise.resolve()).then(work);
    const over: Promise<void> = run.then(() => {}, () => {}).then(() => {
      if (this.#turns.get(key) === over) this.#turns.delete(key);
    });
    this.#turns.set(key, over);
    return run;
  }
}

const outKey = (roomId: string, endpoint: string) => `out ${roomId} ${endpoint}`;
