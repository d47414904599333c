/**
 * Rules that all backends share: pure functions that decide and return the error.
 *
 * @module
 */

import { counted } from "./text/counted.ts";
import { StoreError } from "./errors.ts";
import type { Handover, Invite, InviteState, Member, Room, SealedKey, User } from "./model.ts";
import { LIMITS } from "./validate.ts";

/** Returns the state of an invite at `now` (milliseconds since 1970). */
export function inviteState(invite: Invite, now: number): InviteState {
  if (invite.usedAt !== null) return "used";
  if (invite.canceledAt !== null) return "canceled";
  // NaN (an expiry that cannot be parsed) counts as expired.
  return Date.parse(invite.expiresAt) > now ? "open" : "expired";
}

/** Returns why an invite cannot be claimed at `now`, or `null`. */
export function inviteProblem(invite: Invite, now: string): StoreError | null {
  const { id, usedAt, canceledAt, expiresAt } = invite;
  switch (inviteState(invite, Date.parse(now))) {
    case "open":
      return null;
    case "used":
      return new StoreError("invite_used", `Invite ${id} was used at ${usedAt}`);
    case "canceled":
      return new StoreError("invite_canceled", `Invite ${id} was canceled at ${canceledAt}`);
    case "expired":
      return new StoreError("invite_expired", `Invite ${id} expired at ${expiresAt}`);
  }
}

/** Returns why an invite cannot be canceled, or `null`, also if it is already canceled. */
export function cancelProblem(invite: Invite): StoreError | null {
  return invite.usedAt === null ? null : inviteProblem(invite, invite.usedAt);
}

/** Returns the time when an invite was used, was canceled, or expires. */
export function inviteEnd({ usedAt, canceledAt, expiresAt }: Invite): string {
  return usedAt ?? canceledAt ?? expiresAt;
}

/** How far the clocks of two nodes may differ, milliseconds. */
const SKEW_MS = 60_000;

/**
 * Returns the time before which an invite or a user was made for another room: one with the same id that
 * has been deleted. Any user can create that id again, and must not meet those who were invited to the other.
 */
export function invitedSince({ createdAt }: Room): string {
  return new Date(Date.parse(createdAt) - SKEW_MS).toISOString();
}

/** Returns whether an invite is for this room; false for `null`. */
export function isInviteTo(invite: Invite, room: Room | null): room is Room {
  return room !== null && invite.room === room.id && invite.createdAt >= invitedSince(room);
}

/**
 * Returns what a claim of an invite sets in the user's record: the room that the user then waits for.
 *
 * @param room The room that the invite names; null if it does not exist
 * @param isMember Whether the user is a member of that room already
 */
export function waitAfterClaim(
  invite: Invite,
  room: Room | null,
  isMember: boolean,
): Pick<User, "invitedTo"> {
  return isMember || !isInviteTo(invite, room) ? {} : { invitedTo: room.id };
}

/** Returns whether a user who is not a member of a room waits for it. */
export function waitsFor(user: User, room: Room): boolean {
  return user.invitedTo === room.id && user.status === "active" &&
    user.createdAt >= invitedSince(room);
}

/** Returns the record of a user who was added to a room or removed from it: it no longer waits. */
export function afterWaiting({ invitedTo: _, ...user }: User): User {
  return user;
}

/** Returns why a room cannot be rekeyed to `epoch` with keys for `endpoints`, or `null`. */
export function rekeyProblem(
  room: Room,
  members: ReadonlySet<string>,
  epoch: number,
  endpoints: readonly string[],
): StoreError | null {
  if (!room.encrypted) {
    return new StoreError("invalid", `Room ${room.id} is cleartext and has no key`, {
      field: "roomId",
    });
  }
  if (epoch !== room.epoch + 1) {
    return new StoreError(
      "conflict",
      `Rekey of room ${room.id} to epoch ${epoch}: the room is at epoch ${room.epoch}`,
    );
  }
  const stranger = endpoints.find((it) => !members.has(it));
  if (stranger !== undefined) {
    return new StoreError("conflict", `Rekey of room ${room.id}: ${stranger} is not a member`);
  }
  if (endpoints.length < members.size) {
    const given = new Set(endpoints);
    const missing = [...members].filter((member) => !given.has(member)).sort();
    const others = missing.length > 1 ? ` and ${counted(missing.length - 1, "other member")}` : "";
    return new StoreError(
      "missing_key",
      `Rekey of room ${room.id}: no sealed key for ${missing[0]}${others}`,
      { missing: missing.slice(0, 100) },
    );
  }
  return null;
}

/** Returns why a sealed key of `epoch` cannot be stored in a room, or `null`. */
export function sealedKeyProblem(room: Room, epoch: number): StoreError | null {
  if (!room.encrypted) {
    return new StoreError("invalid", `Room ${room.id} is cleartext and has no key`, {
      field: "roomId",
    });
  }
  if (epoch > room.epoch) {
    return new StoreError(
      "conflict",
      `Sealed key of epoch ${epoch} for room ${room.id}: the room is at epoch ${room.epoch}`,
    );
  }
  return null;
}

/** Returns why a member cannot be added to a room with this key, or `null`. */
export function newMemberKeyProblem(room: Room, key: SealedKey): StoreError | null {
  const problem = sealedKeyProblem(room, key.epoch);
  if (problem !== null || key.epoch === room.epoch) return problem;
  return new StoreError(
    "conflict",
    `Adding ${key.endpoint} to room ${room.id} with a key of epoch ${key.epoch}: ` +
      `the room is at epoch ${room.epoch}`,
  );
}

/** Returns why a member cannot be removed, or `null`. */
export function removalProblem(room: Room, endpoint: string): StoreError | null {
  if (room.owner !== endpoint) return null;
  return new StoreError("room_owner", `${endpoint} owns room ${room.id} and cannot be removed`);
}

/**
 * Returns why a member cannot become the owner of a room, or `null`.
 *
 * @param room The room
 * @param owner The user record of its owner, or `null`
 * @param member The member
 * @param hasKey Whether the member has a sealed key of the room's epoch
 */
export function ownerChangeProblem(
  room: Room,
  owner: User | null,
  member: Member,
  hasKey: boolean,
): StoreError | null {
  const what = `Changing the owner of room ${room.id} to ${member.endpoint}`;
  if (owner?.status === "active") {
    return new StoreError("refused", `${what}: its owner ${room.owner} is an active user`);
  }
  return newOwnerProblem(what, room, member, hasKey);
}

/**
 * Returns why a room cannot be handed over, or `null`.
 *
 * @param member The member who is to own it
 * @param hasKey Whether that member has a sealed key of the room's epoch
 */
export function handoverProblem(
  room: Room,
  { from, epoch }: Handover,
  member: Member,
  hasKey: boolean,
): StoreError | null {
  const what = `Handing room ${room.id} over to ${member.endpoint}`;
  if (!room.encrypted) {
    // Its members have no client that would verify the statement.
    return new StoreError("invalid", `${what}: it is cleartext`, { field: "roomId" });
  }
  if (room.owner !== from) {
    return new StoreError("conflict", `${what}: its owner is ${room.owner}, not ${from}`);
  }
  if (room.epoch !== epoch) {
    return new StoreError("conflict", `${what}: the room is at epoch ${room.epoch}, not ${epoch}`);
  }
  // Otherwise members could not tell this statement from an earlier one.
  if ((room.handovers?.at(-1)?.epoch ?? 0) >= epoch) {
    return new StoreError(
      "conflict",
      `${what}: it was handed over at epoch ${epoch}; rekey it first`,
    );
  }
  return newOwnerProblem(what, room, member, hasKey);
}

/** Returns the room after a hand-over, with the newest statements. */
export function afterHandover(room: Room, handover: Handover): Room {
  const handovers = [...room.handovers ?? [], handover].slice(-LIMITS.handovers);
  return { ...room, owner: handover.to, handovers };
}

/** Returns whether a room has been handed over by this statement, and not changed its owner since. */
export function isHandedOver(room: Room, { to, signature }: Handover): boolean {
  return room.owner === to && room.handovers?.at(-1)?.signature === signature;
}

function newOwnerProblem(
  what: string,
  room: Room,
  member: Member,
  hasKey: boolean,
): StoreError | null {
  if (!member.accepted) {
    return new StoreError("conflict", `${what}: the member has not accepted its membership`);
  }
  if (room.encrypted && !hasKey) {
    return new StoreError("conflict", `${what}: the member has no key of epoch ${room.epoch}`);
  }
  return null;
}

/** Returns whether a user is an active admin, so that removing it may leave none. */
export function isActiveAdmin(user: User): boolean {
  return user.role === "admin" && user.status === "active";
}

/** Returns the error for a change that would leave no active admin. */
export function lastAdmin(user: User): StoreError {
  return new StoreError(
    "last_admin",
    `${user.signPub} (${user.handle}) is the last active admin`,
  );
}

/** Waits for a record; throws `not_found` if it is `null`. */
export async function requireFound<T>(
  read: Promise<T | null>,
  what: string,
  key: string,
): Promise<T> {
  const found = await read;
  if (found === null) throw notFound(what, key);
  return found;
}

/** Returns the error for a record that does not exist. */
export function notFound(what: string, key: string): StoreError {
  return new StoreError("not_found", `No ${what} ${key}`, { field: what });
}

/** Returns the error for a member that does not exist. */
export function noMember(roomId: string, endpoint: string): StoreError {
  return notFound("member", `${endpoint} in room ${roomId}`);
}

/** Returns the error for a room that already exists. */
export function roomExists(id: string): StoreError {
  return new StoreError("room_exists", `Room ${id} already exists`);
}

/** Returns the error for an endpoint that is already a member. */
export function memberExists(roomId: string, endpoint: string): StoreError {
  return new StoreError("member_exists", `${endpoint} is already a member of room ${roomId}`);
}

/** Returns the error for a user that already exists. */
export function userExists(signPub: string): StoreError {
  return new StoreError("user_exists", `User ${signPub} already exists`);
}

/** Returns the error for an invite that already exists. */
export function inviteExists(id: string, cause?: unknown): StoreError {
  return new StoreError("conflict", `Invite ${id} already exists`, { cause });
}

/** Returns the error for a restore into a store that is not empty. */
export function notEmpty(attempt: string): StoreError {
  return new StoreError(
    "refused",
    `${attempt}: it is not empty; replace overrides, and deletes its records`,
    { field: "replace" },
  );
}
