/**
 * Looking up users that may not exist.
 *
 * @module
 */

import { isStoreError } from "../../core/errors.ts";
import type { Member, User, UserStatus } from "../../core/model.ts";
import type { Store } from "../../core/store.ts";

/** The user, or `null`. */
export async function userOf(
  store: Pick<Store, "getUser">,
  signPub: string,
): Promise<User | null> {
  try {
    return await store.getUser(signPub);
  } catch (error) {
    if (isStoreError(error, "not_found")) return null;
    throw error;
  }
}

/** Users that are looked up concurrently. */
const AT_ONCE = 64;

/** Members with the status of their users; `null` if there is no such user. */
export async function withStatus(
  store: Pick<Store, "isAuthorized" | "getUser">,
  members: readonly Member[],
): Promise<(Member & { status: UserStatus | null })[]> {
  const statusOf = async ({ endpoint }: Member) => {
    // Most are active, which is answered from memory.
    if (await store.isAuthorized(endpoint)) return "active";
    return (await userOf(store, endpoint))?.status ?? null;
  };
  const found: (Member & { status: UserStatus | null })[] = [];
  for (let from = 0; from < members.length; from += AT_ONCE) {
    const some = members.slice(from, from + AT_ONCE);
    found.push(
      ...await Promise.all(some.map(async (it) => ({ ...it, status: await statusOf(it) }))),
    );
  }
  return found;
}
