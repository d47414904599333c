/**
 * Looking up users that may not exist.
 *
 * @module
 */

import { mapInTurns } from "../../core/async/in_turns.ts";
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

/** The rooms that a user waits for: the one it was invited to, until it is a member. */
export async function waitingFor(
  store: Pick<Store, "getMember" | "getRoom">,
  { signPub, invitedTo }: User,
): Promise<string[]> {
  if (invitedTo === undefined) return [];
  const isThere = (found: Promise<unknown>) =>
    found.then(() => true, (error) => {
      if (isStoreError(error, "not_found")) return false;
      throw error;
    });
  const waits = !await isThere(store.getMember(invitedTo, signPub)) &&
    await isThere(store.getRoom(invitedTo));
  return waits ? [invitedTo] : [];
}

/** Users that are looked up concurrently. */
const AT_ONCE = 64;

/** A member, and what its user says of it. */
export interface MemberUser extends Member {
  /** `null` if there is no such user. */
  status: UserStatus | null;
  /** `null` if there is no such user; left out if names were not wanted. */
  handle?: string | null;
}

/** Members with the status of their users, and with their names if these are wanted. */
export async function withUsers(
  store: Pick<Store, "isAuthorized" | "getUser">,
  members: readonly Member[],
  { handles = false }: { handles?: boolean | undefined } = {},
): Promise<MemberUser[]> {
  const full = async (member: Member): Promise<MemberUser> => {
    // Most are active, which is answered from memory; a name is a read of its own.
    if (!handles && await store.isAuthorized(member.endpoint)) {
      return { ...member, status: "active" };
    }
    const user = await userOf(store, member.endpoint);
    const status = user?.status ?? null;
    return { ...member, status, ...handles && { handle: user?.handle ?? null } };
  };
  return await mapInTurns(members, full, AT_ONCE);
}
