/**
 * Lists that are filtered, sorted or counted, by a search or by looking through all.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Invite, InviteState, Page, PageRequest, User } from "../../core/model.ts";
import { inviteState } from "../../core/rules.ts";
import type { Store } from "../../core/store.ts";
import type { Search } from "../../core/store/search.ts";
import { LIMITS } from "../../core/validate.ts";
import { Refusal } from "../pipeline/problem.ts";

/** Whether a query asks for pages in the order of the store, which needs no search. */
export function isPlain(query: PageRequest): boolean {
  return beyondPages(query).length === 0;
}

/** Refuses a query of the caller's own rooms that asks for more than pages. */
export function requireAll(query: PageRequest): void {
  const [field] = beyondPages(query);
  if (field === undefined) return;
  throw new StoreError("invalid", `${field} must not be given without all`, { field });
}

function beyondPages(query: object): string[] {
  return Object.keys(query).filter((it) => it !== "limit" && it !== "after");
}

/** The search of a control plane, which a move may bring or take away; without it, requests are refused. */
export function searchOf(search: () => Search | null): Search {
  const current = () => {
    const found = search();
    if (found !== null) return found;
    throw new Refusal("unsupported", "Filters, sorting and counts are not available", {
      status: 400,
      hint: "this server keeps no follower of its bucket: start it with --follower PATH",
    });
  };
  return { users: (query) => current().users(query), rooms: (query) => current().rooms(query) };
}

/** Most invites looked at for one request. */
const MOST_LOOKED_AT = 20_000;

/**
 * Invites in this state, by id. No store lists them by it: they are looked through, so many a request. A
 * page may be short, and `next` says so.
 */
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

/** Most pages that are read for one request. */
const MOST_READ = 200;

/**
 * Reads a page of users of whom nothing was seen for a while. No store knows that: they are looked through,
 * so many a request. A page may be short, and `next` says so.
 *
 * @param read Reads a page of all users, in the order asked for
 * @param pick Returns those of some users who were not seen
 */
export async function unseenOf(
  read: (page: { limit: number; after?: string }) => Promise<Page<User>>,
  pick: (users: readonly User[]) => User[],
  { limit = LIMITS.pageDefault, after }: { limit?: number; after?: string },
): Promise<Page<User>> {
  const items: User[] = [];
  let from = after;
  for (let i = 0; i < MOST_READ; i++) {
    const page = await read({ limit, after: from });
    const found = pick(page.items);
    // A page ends where one of all users ends.
    if (items.length + found.length > limit) break;
    items.push(...found);
    if (page.next === null) return { items, next: null };
    from = page.next;
  }
  return { items, next: from! };
}
