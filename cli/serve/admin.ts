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
  store: Pick<Store, "hasAdmin" | "users">,
): Promise<boolean | null> {
  if (await store.hasAdmin()) return true;
  try {
    for await (const { role, status } of store.users()) {
      if (role === "admin" && status === "active") return true;
    }
    return false;
  } catch {
    return null;
  }
}
