/**
 * Invites by their state, which no store lists: they are looked through, so many a request.
 *
 * @module
 */

import type { Invite, InviteState, Page, PageRequest } from "../../core/model.ts";
import { inviteState } from "../../core/rules.ts";
import type { Store } from "../../core/store.ts";
import { LIMITS } from "../../core/validate.ts";

/** Most invites looked at for one request. */
const MOST_LOOKED_AT = 20_000;

/** Invites in this state, by id. A page may be short, and `next` says so. */
export async function invitesOf(
  store: Pick<Store, "invites">,
  state: InviteState,
  { limit = LIMITS.pageDefault, after = null }: PageRequest,
  now: number = Date.now(),
): Promise<Page<Invite>> {
  const items: Invite[] = [];
  let looked = 0;
  let last = after;
  for await (const invite of store.invites({ after })) {
    const matches = inviteState(invite, now) === state;
    if ((matches && items.length === limit) || looked++ >= MOST_LOOKED_AT) {
      return { items, next: last };
    }
    if (matches) items.push(invite);
    last = invite.id;
  }
  return { items, next: null };
}
