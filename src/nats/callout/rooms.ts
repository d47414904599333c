/**
 * All rooms that an endpoint has accepted.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Room } from "../../core/model.ts";
import type { CalloutStore } from "../types.ts";

/** More rooms than this never fit into an admission, whatever their subjects. */
const MOST_ROOMS = 30_000;

/** Reads all pages; offers are not among them. `too_large` when there are more than could be granted. */
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
    if (rooms.length > MOST_ROOMS) {
      throw new StoreError("too_large", `The endpoint is in more than ${MOST_ROOMS} rooms`);
    }
  } while (after !== null);
  return rooms;
}
