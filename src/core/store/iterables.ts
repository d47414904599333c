/**
 * Iterates over lists, based on the methods that read one page.
 *
 * @module
 */

import type { Page, PageRequest } from "../model.ts";
import type { Store } from "./types.ts";

/** Iterates over the items of a list, one page at a time. */
export async function* each<T, P extends PageRequest>(
  list: (page: P) => Promise<Page<T>>,
  page: P | undefined,
): AsyncGenerator<T, void, undefined> {
  let after = page?.after ?? null;
  do {
    const { items, next }: Page<T> = await list({ ...page, after } as P);
    yield* items;
    after = next;
  } while (after !== null);
}

/** Returns the iterating methods of a store that has these lists. */
export function iterables(
  store: Pick<
    Store,
    | "listRooms"
    | "listRoomsForEndpoint"
    | "listMembers"
    | "listWaiting"
    | "listSealedKeys"
    | "listUsers"
    | "listInvites"
  >,
) {
  return {
    rooms: (page) => each(store.listRooms, page),
    roomsForEndpoint: (endpoint, page) =>
      each((next) => store.listRoomsForEndpoint(endpoint, next), page),
    members: (roomId, page) => each((next) => store.listMembers(roomId, next), page),
    waiting: (roomId, page) => each((next) => store.listWaiting(roomId, next), page),
    sealedKeys: (roomId, page) => each((next) => store.listSealedKeys(roomId, next), page),
    users: (page) => each(store.listUsers, page),
    invites: (page) => each(store.listInvites, page),
  } satisfies Partial<Store>;
}
