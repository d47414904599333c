/**
 * Checks whether the store has an active admin.
 *
 * @module
 */

import type { Store } from "../../src/core/store.ts";

/**
 * Reports whether there is an active admin; null if the store cannot tell. `hasAdmin()` is also
 * false while it is unknown, such as when other nodes of a cluster have just started.
 */
export async function knowsAdmin(
  store: Pick<Store, "hasAdmin" | "listUsers">,
): Promise<boolean | null> {
  if (await store.hasAdmin()) return true;
  try {
    for (let after: string | null = null;;) {
      const { items, next } = await store.listUsers({ after });
      if (items.some((it) => it.role === "admin" && it.status === "active")) return true;
      if (next === null) return false;
      after = next;
    }
  } catch {
    return null;
  }
}
