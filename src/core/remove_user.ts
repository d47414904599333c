/**
 * Removing a user for good.
 *
 * @module
 */

import { isStoreError } from "./errors.ts";
import type { Page, Room } from "./model.ts";
import type { Store } from "./store.ts";
import { signPub as checkSignPub } from "./validate.ts";

/** Memberships that are ended at the same time. */
const AT_ONCE = 16;

/**
 * Removes a user and ends its memberships, so that a user with the same key who is added later is in no
 * room. `deleteUser` of the store leaves them. Rooms it owns stay with it, because a room needs an
 * owner: give them to another member with `changeRoomOwner`.
 *
 * The user is revoked first, so it has no access from then on; an interrupted removal is completed by
 * another one.
 *
 * @throws {StoreError} `not_found`; `last_admin` (unless `force`): nothing has changed
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
  store: Pick<Store, "revokeUser" | "listRoomsForEndpoint" | "removeMember" | "deleteUser">,
  signPub: string,
  options: { force?: boolean } = {},
): Promise<void> {
  const endpoint = checkSignPub("signPub", signPub);
  await store.revokeUser(endpoint, options);
  let after: string | null = null;
  do {
    const page: Page<Room> = await store.listRoomsForEndpoint(endpoint, { limit: 1000, after });
    const rooms = page.items.filter((it) => it.owner !== endpoint);
    const work = rooms.values();
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (const { id } of work) await leave(store, id, endpoint);
    }));
    after = page.next;
  } while (after !== null);
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
