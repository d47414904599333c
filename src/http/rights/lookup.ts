/**
 * Looking up users that may not exist.
 *
 * @module
 */

import { mapInTurns } from "../../core/async/in_turns.ts";
import { isStoreError } from "../../core/errors.ts";
import type { Invite, Member, User, UserStatus } from "../../core/model.ts";
import { isInviteTo, waitsFor } from "../../core/rules.ts";
import type { Store } from "../../core/store.ts";

/** The user, or `null`. */
export async function userOf(
  store: Pick<Store, "getUser">,
  signPub: string,
): Promise<User | null> {
  return await orNull(store.getUser(signPub));
}

/** The rooms that a user waits for: the one it was invited to, until it is a member. */
export async function waitingFor(
  store: Pick<Store, "getMember" | "getRoom">,
  user: User,
): Promise<string[]> {
  const { signPub, invitedTo } = user;
  if (invitedTo === undefined || await orNull(store.getMember(invitedTo, signPub)) !== null) {
    return [];
  }
  const room = await orNull(store.getRoom(invitedTo));
  return room !== null && waitsFor(user, room) ? [invitedTo] : [];
}

/** The room that an invite is to; `undefined` if it is to none, or the room has been deleted. */
export async function roomOf(
  store: Pick<Store, "getRoom">,
  invite: Invite,
): Promise<string | undefined> {
  if (invite.room === undefined) return undefined;
  return isInviteTo(invite, await orNull(store.getRoom(invite.room))) ? invite.room : undefined;
}

/** What was read; null if it does not exist. */
async function orNull<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (isStoreError(error, "not_found")) return null;
    throw error;
  }
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
