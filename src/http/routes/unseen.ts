/**
 * Users of whom nothing was seen for a while. No store knows that: they are looked through, so many a
 * request.
 *
 * @module
 */

import type { Page, User } from "../../core/model.ts";
import { LIMITS } from "../../core/validate.ts";

/** Most pages that are read for one request. */
const MOST_READ = 200;

/** What is asked for. */
interface Asked {
  limit?: number | undefined;
  after?: string | undefined;
}

/**
 * Reads a page. It may be short, and `next` says so.
 *
 * @param read Reads a page of all users, in the order asked for
 * @param pick Returns those of some users who were not seen
 */
export async function unseenOf(
  read: (page: { limit: number; after?: string }) => Promise<Page<User>>,
  pick: (users: readonly User[]) => User[],
  { limit = LIMITS.pageDefault, after }: Asked,
): Promise<Page<User>> {
  const items: User[] = [];
  let from = after;
  for (let i = 0; i < MOST_READ; i++) {
    const page = await read({ limit, ...from !== undefined && { after: from } });
    const found = pick(page.items);
    // A page ends where one of all users ends.
    if (items.length + found.length > limit) break;
    items.push(...found);
    if (page.next === null) return { items, next: null };
    from = page.next;
  }
  return { items, next: from! };
}
