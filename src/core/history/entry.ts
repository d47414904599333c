/**
 * Entries of the history: what each change of the control plane is called, and what is told of it. Both
 * backends build their entries here.
 *
 * @module
 */

import type { Counts, Invite, Member, Room, User } from "../model.ts";

/** Values that are small enough to be kept with an entry. */
export type SmallValues = Record<string, string | number | boolean | null>;

/** Every action. */
export const ACTIONS = [
  "user.added",
  "user.revoked",
  "user.restored",
  "user.role_changed",
  "user.deleted",
  "invite.created",
  "invite.claimed",
  "invite.spent",
  "invite.canceled",
  "invites.pruned",
  "room.created",
  "room.deleted",
  "room.owner_changed",
  "room.rekeyed",
  "member.added",
  "member.joined",
  "member.removed",
  "key.stored",
  "keys.pruned",
  "store.restored",
  "store.moved",
  "history.pruned",
  "history.restored",
] as const;

/**
 * What was done. `invite.claimed` added the user, `invite.spent` found it registered already.
 * `keys.pruned` and `invites.pruned` tell only how many.
 */
export type HistoryAction = typeof ACTIONS[number];

/** One change of the control plane. */
export interface HistoryEntry {
  /** Its place in the order of changes, such as `0.1507`. Later changes have greater ones. */
  revision: string;
  /** When, ISO 8601, by the clock of the process that made it. */
  at: string;
  /**
   * Who made it: an endpoint, `cli:USER@HOST`, `http` (a request without a signature), `server` (the
   * program itself), or what the program passed to `store.as`; otherwise `library`.
   */
  by: string;
  /** What was done. */
  action: HistoryAction;
  /** The signing key of the user or member it is about; null if it is about none. */
  user: string | null;
  /** The room's id; null if it is about none. */
  room: string | null;
  /** The invite's id; null if it is about none. */
  invite: string | null;
  /** The changed values before; null if there were none. */
  before: SmallValues | null;
  /** The changed values after it, and counts; null if there are none. */
  after: SmallValues | null;
}

/** An entry before it is stored. */
export type Draft = Omit<HistoryEntry, "revision" | "at" | "by">;

/** Who makes a change, and when. */
export interface Author {
  /** Who. */
  readonly by: string;
  /** When, ISO 8601. */
  readonly at: string;
  /** Called by the backend with the revision of the change when it is made; not if nothing changed. */
  wrote(revision: string): void;
}

function draft(action: HistoryAction, about: Partial<Draft>): Draft {
  return { action, user: null, room: null, invite: null, before: null, after: null, ...about };
}

/** Returns the entry of a change. */
export const did = {
  roomCreated: ({ id, owner, encrypted }: Room, members: number): Draft =>
    draft("room.created", { room: id, user: owner, after: { encrypted, members } }),
  roomDeleted: (id: string): Draft => draft("room.deleted", { room: id }),
  ownerChanged: ({ id, owner }: Room, next: string): Draft =>
    draft("room.owner_changed", {
      room: id,
      user: next,
      before: { owner },
      after: { owner: next },
    }),
  rekeyed: ({ id, epoch }: Room, next: number): Draft =>
    draft("room.rekeyed", { room: id, before: { epoch }, after: { epoch: next } }),
  memberAdded: ({ roomId, endpoint, accepted }: Member): Draft =>
    draft("member.added", { room: roomId, user: endpoint, after: { accepted } }),
  memberJoined: (room: string, endpoint: string): Draft =>
    draft("member.joined", { room, user: endpoint }),
  memberRemoved: (room: string, endpoint: string): Draft =>
    draft("member.removed", { room, user: endpoint }),
  keyStored: (room: string, endpoint: string, epoch: number): Draft =>
    draft("key.stored", { room, user: endpoint, after: { epoch } }),
  keysPruned: (room: string, count: number): Draft =>
    draft("keys.pruned", { room, after: { count } }),
  userAdded: ({ signPub, handle, role }: User): Draft =>
    draft("user.added", { user: signPub, after: { handle, role } }),
  /** A change of status or role. */
  userChanged: (before: User, after: User): Draft => {
    const user = before.signPub;
    if (before.status !== after.status) {
      return draft(after.status === "revoked" ? "user.revoked" : "user.restored", { user });
    }
    return draft("user.role_changed", {
      user,
      before: { role: before.role },
      after: { role: after.role },
    });
  },
  userDeleted: ({ signPub, handle, role, status }: User): Draft =>
    draft("user.deleted", { user: signPub, before: { handle, role, status } }),
  inviteCreated: ({ id, role, expiresAt, room }: Invite): Draft =>
    draft("invite.created", { invite: id, room: room ?? null, after: { role, expiresAt } }),
  /** @param added Whether the claim added the user; otherwise the key was registered already */
  inviteClaimed: (
    { id: invite, room }: Invite,
    { signPub: user, handle, role }: User,
    added: boolean,
  ): Draft => {
    const about = { invite, user, room: room ?? null };
    return added
      ? draft("invite.claimed", { ...about, after: { handle, role } })
      : draft("invite.spent", about);
  },
  inviteCanceled: (id: string): Draft => draft("invite.canceled", { invite: id }),
  invitesPruned: (count: number): Draft => draft("invites.pruned", { after: { count } }),
  restored: (counts: Counts): Draft =>
    draft("store.restored", {
      after: { records: Object.values(counts).reduce((all, count) => all + count, 0) },
    }),
  /** @param to What the control plane moved to */
  moved: (from: string, to: string): Draft =>
    draft("store.moved", { before: { store: from }, after: { store: to } }),
  /** @param upTo The last entry removed, and the head of the chain there */
  historyPruned: (count: number, upTo: string, head: string): Draft =>
    draft("history.pruned", { after: { count, upTo, head } }),
  /** @param upTo The last entry written back from a second copy, and the head of the chain there */
  historyRestored: (count: number, upTo: string, head: string): Draft =>
    draft("history.restored", { after: { count, upTo, head } }),
} as const;
