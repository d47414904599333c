/**
 * Lists the rooms that an endpoint has accepted.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Room } from "../../core/model.ts";
import type { CalloutStore } from "../types.ts";

/** More rooms than this never fit into an admission, whatever their subjects. */
const MAX_ROOMS = 30_000;

/**
 * Lists all rooms of an endpoint, without pending offers.
 *
 * @throws {StoreError} too_large: it is in more rooms than an admission can hold
 */
export async function roomsOf(
  store: Pick<CalloutStore, "listRoomsForEndpoint">,
  endpoint: string,
): Promise<Room[]> {
  const rooms: Room[] = [];
  let after: string | null = null;
  do {
    const page = await store.listRoomsForEndpoint(endpoint, {
      accepted: true,
      limit: 10_000,
      after,
    });
    rooms.push(...page.items);
    after = page.next;
    if (rooms.length > MAX_ROOMS) {
      throw new StoreError("too_large", `The endpoint is in more than ${MAX_ROOMS} rooms`);
    }
  } while (after !== null);
  return rooms;
}
