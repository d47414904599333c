/**
 * Saves a store's contents to a snapshot file before they are replaced.
 *
 * @module
 */

import type { Store } from "../../mod.ts";
import { exportSnapshot } from "../../src/snapshot/mod.ts";
import type { Context, StoreFlags } from "../command.ts";
import { writeWhole } from "../terminal/files.ts";

/**
 * Saves a store's contents to a snapshot, next to the SQLite file or, for a bucket, in the working
 * directory. Returns the snapshot's path, or `null` if the store is empty.
 */
export async function saveBefore(
  { io: { signal } }: Context,
  { db, natsUrl, bucket = "UNIBUS" }: StoreFlags,
  store: Store,
): Promise<string | null> {
  if (await isEmpty(store, signal)) return null;
  const { stamp } = await import("../../src/move/steps.ts");
  const path = `${natsUrl === undefined ? db : `./${bucket}`}.replaced-${stamp()}.ndjson`;
  await writeWhole(path, exportSnapshot(store, { signal }), { force: false, signal });
  return path;
}

async function isEmpty(store: Store, signal: AbortSignal): Promise<boolean> {
  for await (const _ of store.records({ signal })) return false;
  return true;
}
