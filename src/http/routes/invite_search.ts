/**
 * Invites by their state, which no store lists: they are looked through, so many a request.
 *
 * @module
 */

import type { Invite, Page, PageRequest } from "../../core/model.ts";
import type { Store } from "../../core/store.ts";
import { LIMITS } from "../../core/validate.ts";

/** What has become of an invite. */
export type InviteState = "open" | "used" | "expired" | "canceled";

/** Most invites looked at for one request. */
const MOST_LOOKED_AT = 20_000;

/** What has become of an invite by now. */
export function stateOf(it: Invite, now: number): InviteState {
  if (it.usedAt !== null) return "used";
  if (it.canceledAt !== null) return "canceled";
  // An expiry that cannot be read counts as expired.
  return Date.parse(it.expiresAt) > now ? "open" : "expired";
}

/** Invites in this state, by id. A page may be short, and `next` says so. */
export async function invitesOf(
  store: Pick<Store, "listInvites">,
  state: InviteState,
  { limit = LIMITS.pageDefault, after = null }: PageRequest,
  now: number = Date.now(),
): Promise<Page<Invite>> {
  const items: Invite[] = [];
  let looked = 0;
  let last = after;
  do {
    const page: Page<Invite> = await store.listInvites({ after: last });
    for (const invite of page.items) {
      if (stateOf(invite, now) === state) {
        if (items.length === limit) return { items, next: last };
        items.push(invite);
      }
      last = invite.id;
    }
    looked += page.items.length;
    if (page.next === null) return { items, next: null };
  } while (looked < MOST_LOOKED_AT);
  return { items, next: last };
}
