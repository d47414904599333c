/// <reference lib="dom" />
/**
 * Keeps keys for this tab, so that its person stays signed in when the page is reloaded. The browser keeps
 * the keys in a form that can sign and cannot be read (IndexedDB); the tab knows which row is its own
 * (`sessionStorage`). A row goes when one signs out, when its tab is closed and another is opened, and
 * after some hours.
 *
 * @module
 */

import { databaseOf } from "./database.ts";
import { type Keys, keysFrom, type StoredKeys } from "./keys.ts";

/** How long keys are kept, milliseconds. */
const LIFE_MS = 12 * 3_600_000;
/** Where the tab keeps the id of its row. */
const ITEM = "unibus-tab";

/** What a tab keeps. */
export interface InTab {
  readonly keys: Keys;
  /** The name of their user. */
  readonly handle: string;
}

interface Row extends StoredKeys {
  id: string;
  handle: string;
  until: number;
}

const ask = databaseOf("unibus-tabs", "tabs", "id");

/** Keeps keys for this tab. Returns whether the browser did: it may refuse, as in a private window. */
export async function keepInTab(
  { keys: { signPub, kexPub, signKey, kexKey }, handle }: InTab,
  now: number = Date.now(),
): Promise<boolean> {
  const id = crypto.randomUUID();
  try {
    await dropFromTab();
    sessionStorage.setItem(ITEM, id);
    // First: another tab removes a row without one.
    await hold(id);
    const row: Row = { id, handle, until: now + LIFE_MS, signPub, kexPub, signKey, kexKey };
    await ask("readwrite", (store) => store.put(row));
    return true;
  } catch {
    return false;
  }
}

/** Returns the keys that this tab keeps, or null. Removes those of tabs that are gone. */
export async function keptInTab(now: number = Date.now()): Promise<InTab | null> {
  try {
    const id = sessionStorage.getItem(ITEM);
    if (id !== null) await hold(id);
    const { held = [] } = await navigator.locks.query();
    const open = new Set(held.map((it) => it.name));
    const rows = await ask<Row[]>("readonly", (store) => store.getAll());
    const own = rows.find((it) => it.id === id && it.until > now) ?? null;
    for (const it of rows) {
      const isOver = it.until <= now || it.id !== id && !open.has(lockOf(it.id));
      if (isOver) await ask("readwrite", (store) => store.delete(it.id));
    }
    return own && { keys: keysFrom(own), handle: own.handle };
  } catch {
    return null;
  }
}

/** Removes the keys that this tab keeps. */
export async function dropFromTab(): Promise<void> {
  try {
    const id = sessionStorage.getItem(ITEM);
    if (id === null) return;
    sessionStorage.removeItem(ITEM);
    await ask("readwrite", (store) => store.delete(id));
  } catch {
    // The browser keeps nothing for this page.
  }
}

/** Holds a lock for as long as the tab shows this page, by which others see that it is open. */
function hold(id: string): Promise<void> {
  return new Promise((resolve, reject) => {
    navigator.locks.request(lockOf(id), { mode: "shared" }, () => {
      resolve();
      return new Promise(() => {});
    }).catch(reject);
  });
}

function lockOf(id: string): string {
  return `${ITEM}-${id}`;
}
