/// <reference lib="dom" />
/**
 * What this browser remembers about rooms and peers, for each identity: owners, epochs and keys. All tabs
 * share it, so each rule that must not be broken by two of them at once is checked in the transaction.
 *
 * @module
 */

import type { RoomMemory } from "../../client/rooms/types.ts";
import { done, openDatabase } from "../shared/database.ts";

const DATABASE = "unibus-rooms";
const STORE = "memory";

/** A memory, and whether it outlives the page. */
export interface BrowserMemory {
  memory: RoomMemory;
  /** False where the browser keeps nothing, as in some private windows. */
  isKept: boolean;
}

/** Opens the memory of an identity. */
export async function browserMemory(signPub: string): Promise<BrowserMemory> {
  let database: IDBDatabase;
  try {
    database = await openDatabase(DATABASE, STORE, null);
  } catch {
    return { memory: new Map<string, string>(), isKept: false };
  }
  const store = (mode: IDBTransactionMode) => database.transaction(STORE, mode).objectStore(STORE);
  const memory: RoomMemory = {
    get: (key) =>
      told(async () => await done<string | undefined>(store("readonly").get([signPub, key]))),
    set: (key, value) =>
      told(() =>
        new Promise<void>((resolve, reject) => {
          const all = store("readwrite");
          const known = all.get([signPub, key]) as IDBRequest<string | undefined>;
          known.onsuccess = () => {
            if (replaces(key, known.result, value)) all.put(value, [signPub, key]);
          };
          all.transaction.oncomplete = () => resolve();
          all.transaction.onabort = () => reject(all.transaction.error);
        })
      ),
  };
  return { memory, isKept: true };
}

/** Does it; says in plain words that the browser failed: its disk may be full, or its data was cleared. */
async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const message = "This browser could not store what the page has to remember of its rooms: " +
      "check that its disk has space, and reload the page";
    throw new Error(message, { cause });
  }
}

/**
 * Whether a value takes the place of the one that another tab may have set meanwhile: an epoch only grows,
 * and of a peer's key the first one stays. An epoch is 0 only where the person starts over with a room.
 */
export function replaces(key: string, known: string | undefined, value: string): boolean {
  if (known === undefined) return true;
  if (key.startsWith("epoch ")) return value === "0" || Number(value) > Number(known);
  return !key.startsWith("kex ");
}

/** The owner of a room that is remembered. */
export async function ownerIn(memory: RoomMemory, roomId: string): Promise<string | undefined> {
  return await memory.get(`owner ${roomId}`);
}
