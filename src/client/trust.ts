/**
 * What is known of others, and must not change without somebody saying so.
 *
 * @module
 */

import { StoreError } from "../errors.ts";
import { SealingError } from "../sealing/error.ts";
import type { RoomMemory } from "./rooms_types.ts";

/** Compares with what was known before; what is new is remembered. */
export class Trust {
  readonly #memory: RoomMemory;
  /** Who reads and writes under a name comes after who did before: each writes what follows from both. */
  readonly #turns = new Map<string, Promise<void>>();

  /** Begins with what a memory holds. */
  constructor(memory: RoomMemory) {
    this.#memory = memory;
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

  /** A room's owner. */
  async owner(roomId: string, owner: string): Promise<void> {
    const known = await this.#firstOr(`owner ${roomId}`, owner);
    if (known === owner) return;
    throw new SealingError(
      "wrong_sealer",
      `The owner of room ${roomId} is said to be ${owner}, and was ${known}`,
    );
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
