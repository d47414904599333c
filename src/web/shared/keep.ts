/// <reference lib="dom" />
/**
 * What this browser keeps: identities whose private keys it uses and does not give out (IndexedDB).
 * It is bound to the page's origin, so to one control plane.
 *
 * @module
 */

import { databaseOf } from "./database.ts";
import { type Keys, keysFrom, type StoredKeys } from "./keys.ts";

/** An identity that is kept. */
export interface Kept {
  /** Its keys. */
  readonly keys: Keys;
  /** The name it registered with, or wants to. */
  readonly handle: string;
  /** The name of the file that was saved; null or not there where it is not known. */
  readonly file?: string | null;
  /** Whether the control plane is known to have it. */
  readonly registered: boolean;
  /** When it was kept. */
  readonly at: string;
}

/** As it lies there: keys are of the browser's own, functions cannot be kept. */
type Row = Omit<Kept, "keys"> & StoredKeys;

const ask = databaseOf("unibus", "identities", "signPub");

/** Whether it was kept: a browser may refuse, as some do in private windows. */
export async function keep({ keys, ...rest }: Kept): Promise<boolean> {
  const { signPub, kexPub, signKey, kexKey } = keys;
  const row: Row = { ...rest, signPub, kexPub, signKey, kexKey };
  try {
    await ask("readwrite", (store) => store.put(row));
    return true;
  } catch {
    return false;
  }
}

/** All that are kept, the newest first; none where the browser keeps nothing. */
export async function kept(): Promise<Kept[]> {
  try {
    const rows = await ask<Row[]>("readonly", (store) => store.getAll());
    return rows.map(({ handle, file = null, registered, at, ...keys }) => ({
      handle,
      file,
      registered,
      at,
      keys: keysFrom(keys),
    })).sort((a, b) => b.at.localeCompare(a.at));
  } catch {
    return [];
  }
}

/** Keeps it no more. */
export async function drop(signPub: string): Promise<void> {
  await ask("readwrite", (store) => store.delete(signPub)).catch(() => {});
}
