/**
 * Which routes change something, and what their changes are about: the one place that decides what
 * of a request stands in the log of changes. No tokens, no keys but public ones, no free text.
 *
 * @module
 */

import type { CreatedInvite, Invite, NewMember, Room, User } from "../../core/model.ts";
import type { Change, ChangeSubject } from "../../core/operations.ts";
import { inviteId } from "../../core/store.ts";
import { signPub as checkSignPub } from "../../core/validate.ts";
import type { Call } from "../pipeline/route.ts";
import { userOf } from "../rights/lookup.ts";

/** What is noted of a route's changes. */
export interface ChangeRow {
  /** The kind of record. */
  readonly kind: Exclude<Change["kind"], "elsewhere">;
  /** Whether each is told as `audit`; by default those of users and invites are. */
  readonly audited?: boolean;
  /** What it is about, as far as the request says; may look first at what will be gone. */
  about(call: Call): ChangeSubject | Promise<ChangeSubject>;
  /** What the answer adds. */
  more?(answer: unknown): ChangeSubject;
  /** Whom the store will tell about; `null`: more people than the request names. */
  concerns(call: Call): readonly string[] | null | Promise<readonly string[] | null>;
}

/** Members of a room that are looked up. */
const MOST_NAMED = 10_000;

type Body = Record<string, never>;
const bodyOf = (call: Call) => call.body as Body;
const key = (value: string | undefined) => checkSignPub("signPub", value);

const aboutUser = ({ params }: Call): ChangeSubject => ({ user: key(params.signPub) });
const ofUser = (answer: unknown): ChangeSubject => {
  const { signPub, handle, role } = answer as User;
  return { user: signPub, handle, role };
};
const namedUser = (answer: unknown): ChangeSubject => {
  const { role: _, ...rest } = ofUser(answer);
  return rest;
};
const aboutRoom = ({ params }: Call): ChangeSubject => ({ room: params.id! });
const aboutMember = ({ params }: Call): ChangeSubject => ({
  room: params.id!,
  user: key(params.endpoint),
});
const nobody = () => [];
const endpointOf = ({ endpoint }: { endpoint: string }): string => endpoint;
/** A room's. Anybody makes rooms and deletes them: that must not stand for everybody. */
const members = async ({ store, params }: Call): Promise<readonly string[] | null> => {
  const { items, next } = await store.listMembers(params.id!, { limit: MOST_NAMED });
  return next === null ? items.map(endpointOf) : null;
};
/** Taking an admin's access writes another admin along. */
const anybody = () => null;

/** The rows, by the id of the route. */
export const CHANGE_ROWS: Readonly<Record<string, ChangeRow>> = {
  register: {
    kind: "users",
    about: (call) => ({
      invite: inviteId(bodyOf(call).token!),
      ...call.endpoint === null ? {} : { user: call.endpoint },
    }),
    more: ofUser,
    concerns: ({ endpoint }) => endpoint === null ? [] : [endpoint],
  },
  addUser: {
    kind: "users",
    about: (call) => ({ user: bodyOf(call).signPub! }),
    more: ofUser,
    concerns: (call) => [bodyOf(call).signPub!],
  },
  revokeUser: { kind: "users", about: aboutUser, more: namedUser, concerns: anybody },
  restoreUser: {
    kind: "users",
    about: aboutUser,
    more: namedUser,
    concerns: ({ params }) => [key(params.signPub)],
  },
  setUserRole: {
    kind: "users",
    about: (call) => ({ ...aboutUser(call), role: bodyOf(call).role! }),
    more: ofUser,
    concerns: anybody,
  },
  deleteUser: {
    kind: "users",
    about: async (call) => {
      const user = await userOf(call.store, call.params.signPub!).catch(() => null);
      return user === null ? aboutUser(call) : namedUser(user);
    },
    concerns: anybody,
  },
  createInvite: {
    kind: "invites",
    about: () => ({}),
    more: (answer) => {
      const { id, role } = (answer as CreatedInvite).invite;
      return { invite: id, role };
    },
    concerns: nobody,
  },
  cancelInvite: {
    kind: "invites",
    about: ({ params }) => ({ invite: params.id!.toLowerCase() }),
    more: (answer) => ({ role: (answer as Invite).role }),
    concerns: nobody,
  },
  createRoom: {
    kind: "rooms",
    about: (call) => ({ room: bodyOf(call).id! }),
    more: (answer) => ({ epoch: (answer as Room).epoch }),
    concerns: (call) => {
      const members: readonly NewMember[] = bodyOf(call).members ?? [];
      return [...call.endpoint === null ? [] : [call.endpoint], ...members.map(endpointOf)];
    },
  },
  deleteRoom: { kind: "rooms", audited: true, about: aboutRoom, concerns: members },
  addMember: {
    kind: "rooms",
    about: (call) => ({ ...aboutRoom(call), user: bodyOf(call).endpoint! }),
    concerns: (call) => [bodyOf(call).endpoint!],
  },
  joinRoom: {
    kind: "rooms",
    about: (call) => ({
      ...aboutRoom(call),
      ...call.endpoint === null ? {} : { user: call.endpoint },
    }),
    concerns: ({ endpoint }) => endpoint === null ? [] : [endpoint],
  },
  changeRoomOwner: {
    kind: "rooms",
    audited: true,
    about: (call) => ({ ...aboutRoom(call), user: bodyOf(call).endpoint! }),
    concerns: async (call) => {
      const { owner } = await call.store.getRoom(call.params.id!);
      return [owner, bodyOf(call).endpoint!];
    },
  },
  removeMember: {
    kind: "rooms",
    about: aboutMember,
    concerns: ({ params }) => [key(params.endpoint)],
  },
  rekeyRoom: {
    kind: "rooms",
    about: (call) => ({ ...aboutRoom(call), epoch: bodyOf(call).epoch! }),
    concerns: nobody,
  },
  putSealedKey: {
    kind: "rooms",
    about: (call) => ({
      ...aboutRoom(call),
      user: bodyOf(call).endpoint!,
      epoch: bodyOf(call).epoch!,
    }),
    concerns: nobody,
  },
};
