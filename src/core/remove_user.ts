/**
 * Removing a user and its memberships.
 *
 * @module
 */

import { isStoreError } from "./errors.ts";
import type { Store } from "./store.ts";
import { signPub as checkSignPub } from "./validate.ts";

/** Memberships that are removed concurrently. */
const AT_ONCE = 16;

/**
 * Deletes a user and its memberships, so that a user with the same key who is added later is in no room.
 * `deleteUser` of the store keeps them. The user stays the owner of its rooms, because a room needs an
 * owner: use `changeRoomOwner` to change that.
 *
 * The user is revoked first, so it has no access from then on. If the call is interrupted, call it again to
 * complete it.
 *
 * @throws {StoreError} `not_found`; `last_admin` without `force`: nothing has changed
 *
 * @example
 * ```ts
 * import { openSqlite, removeUser } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * const signPub = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
 * await store.addUser({ signPub, kexPub: signPub, handle: "ada" });
 * await removeUser(store, signPub);
 * ```
 */
export async function removeUser(
  store: Pick<Store, "revokeUser" | "roomsForEndpoint" | "removeMember" | "deleteUser">,
  signPub: string,
  options: { force?: boolean } = {},
): Promise<void> {
  const endpoint = checkSignPub("signPub", signPub);
  await store.revokeUser(endpoint, options);
  const rooms = store.roomsForEndpoint(endpoint, { limit: 1000 });
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for await (const { id, owner } of rooms) {
      if (owner !== endpoint) await leave(store, id, endpoint);
    }
  }));
  await store.deleteUser(endpoint, options);
}

async function leave(
  store: Pick<Store, "removeMember">,
  roomId: string,
  endpoint: string,
): Promise<void> {
  try {
    await store.removeMember(roomId, endpoint);
  } catch (error) {
    // Others may have ended it, or made it the owner, meanwhile.
    if (!isStoreError(error, "not_found") && !isStoreError(error, "room_owner")) throw error;
  }
}
