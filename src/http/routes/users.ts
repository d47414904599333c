/**
 * Routes of users and invites.
 *
 * @module
 */

import type { User } from "../../core/model.ts";
import type { UserQuery } from "../../core/store/search.ts";
import { inviteProblem } from "../../core/rules.ts";
import { inviteId } from "../../core/store.ts";
import { removeUser } from "../../core/remove_user.ts";
import { invitesOf, isPlain, unseenOf } from "./search.ts";
import { roomOf, userOf, waitingFor } from "../rights/lookup.ts";
import { type Route, route } from "../pipeline/route.ts";
import { ANSWER, BODY, QUERY } from "./shapes.ts";

/** Who one is, and joining. */
export const ME: readonly Route[] = [
  route("POST /v1/register", {
    id: "register",
    summary: "Redeem an invite: registers the signing key as a user",
    who: "newcomer",
    body: BODY.register,
    status: 201,
    answer: ANSWER.user,
    errors: [
      "not_found",
      "invite_used",
      "invite_expired",
      "invite_canceled",
      "user_exists",
      "rate_limited",
    ],
    handle: async (call) => {
      const { token, kexPub, handle } = call.body;
      const claim = { signPub: call.caller(), kexPub, handle };
      return await call.store.consumeInvite(token, claim);
    },
  }),
  route("POST /v1/register/check", {
    id: "checkInvite",
    summary: "Check whether an invite can be redeemed, without using it",
    who: "anyone",
    body: BODY.token,
    maxBytes: 4096,
    answer: ANSWER.openInvite,
    errors: ["not_found", "invite_used", "invite_expired", "invite_canceled", "rate_limited"],
    handle: async ({ store, body: { token }, operations }) => {
      const invite = await store.getInvite(inviteId(token));
      const problem = inviteProblem(invite, operations.now().toISOString());
      if (problem !== null) throw problem;
      const { role, expiresAt } = invite;
      return { role, expiresAt, room: await roomOf(store, invite) };
    },
  }),
  route("GET /v1/me", {
    id: "me",
    summary: "Show the user of the signing key",
    who: "user",
    answer: ANSWER.me,
    handle: async (call) => {
      const endpoint = call.caller();
      // Only with `off` or `soft` is there a caller who is not a user.
      const user = await userOf(call.store, endpoint);
      return { endpoint, user, waitingFor: user ? await waitingFor(call.store, user) : [] };
    },
  }),
  route("GET /v1/nodes", {
    id: "nodes",
    summary: "List the nodes of the control plane and their URLs",
    who: "user",
    answer: ANSWER.nodes,
    handle: ({ operations }) => operations.nodes(),
  }),
];

/** Users: the allowlist. */
export const USERS: readonly Route[] = [
  route("GET /v1/users", {
    id: "listUsers",
    summary: "List users, ordered by signing key or as `sort` says",
    who: "admin",
    query: QUERY.users,
    answer: ANSWER.users,
    errors: ["unsupported"],
    handle: ({ store, query: { unseenSince, ...query }, operations }) => {
      const read = (query: UserQuery) =>
        isPlain(query) ? store.listUsers(query) : operations.search.users(query);
      if (unseenSince === undefined) return read(query);
      const { total: _, ...rest } = query;
      const pick = (users: readonly User[]) => operations.unseen(users, unseenSince);
      return unseenOf((page) => read({ ...rest, ...page }), pick, query);
    },
  }),
  route("POST /v1/users", {
    id: "addUser",
    summary: "Add an active user",
    who: "admin",
    body: BODY.newUser,
    status: 201,
    answer: ANSWER.user,
    errors: ["user_exists"],
    handle: ({ store, body }) => store.addUser(body),
  }),
  route("GET /v1/users/{signPub}", {
    id: "getUser",
    summary: "Read a user, for example for the X25519 key to seal a room key to",
    who: "user",
    answer: ANSWER.user,
    errors: ["not_found"],
    handle: async ({ store, params, mayAccept }) => {
      const { invitedTo, ...user } = await store.getUser(params.signPub!);
      // Users who are not in a room do not learn of it.
      const isShown = invitedTo !== undefined && await mayAccept(user.signPub);
      return isShown ? { ...user, invitedTo } : user;
    },
  }),
  route("POST /v1/users/{signPub}/revoke", {
    id: "revokeUser",
    summary:
      "Revoke a user, effective with the next request; closes its bus connections. Idempotent",
    who: "admin",
    body: BODY.force,
    answer: ANSWER.user,
    errors: ["not_found", "last_admin"],
    handle: ({ store, params, body }) => store.revokeUser(params.signPub!, body),
  }),
  route("POST /v1/users/{signPub}/restore", {
    id: "restoreUser",
    summary: "Restore a revoked user's access. Idempotent",
    who: "admin",
    answer: ANSWER.user,
    errors: ["not_found"],
    handle: ({ store, params }) => store.restoreUser(params.signPub!),
  }),
  route("POST /v1/users/{signPub}/role", {
    id: "setUserRole",
    summary: "Set a user's role, effective with the next request",
    who: "admin",
    body: BODY.role,
    answer: ANSWER.user,
    errors: ["not_found", "last_admin"],
    handle: ({ store, params, body: { role, ...options } }) =>
      store.setUserRole(params.signPub!, role, options),
  }),
  route("DELETE /v1/users/{signPub}", {
    id: "deleteUser",
    summary: "Delete a user and its memberships; it stays the owner of its rooms",
    who: "admin",
    query: QUERY.deleteUser,
    errors: ["not_found", "last_admin"],
    handle: ({ store, params, query: { keepMemberships = false, ...options } }) =>
      keepMemberships
        ? store.deleteUser(params.signPub!, options)
        : removeUser(store, params.signPub!, options),
  }),
];

/** Invites. */
export const INVITES: readonly Route[] = [
  route("GET /v1/invites", {
    id: "listInvites",
    summary: "List invites, ordered by id; a page may have fewer items than `limit`",
    who: "admin",
    query: QUERY.invites,
    answer: ANSWER.invites,
    handle: ({ store, query: { state, ...page } }) =>
      state === undefined ? store.listInvites(page) : invitesOf(store, state, page),
  }),
  route("POST /v1/invites", {
    id: "createInvite",
    summary: "Create a single-use invite; its token is returned only in this response",
    who: "admin",
    body: BODY.newInvite,
    status: 201,
    answer: ANSWER.createdInvite,
    errors: ["not_found"],
    handle: ({ store, body, endpoint }) =>
      store.createInvite({ ...body, createdBy: endpoint ?? "http" }),
  }),
  route("GET /v1/invites/{id}", {
    id: "getInvite",
    summary: "Read an invite",
    who: "admin",
    answer: ANSWER.invite,
    errors: ["not_found"],
    handle: ({ store, params }) => store.getInvite(params.id!),
  }),
  route("POST /v1/invites/{id}/cancel", {
    id: "cancelInvite",
    summary: "Cancel an invite. Idempotent",
    who: "admin",
    answer: ANSWER.invite,
    errors: ["not_found", "invite_used"],
    handle: ({ store, params }) => store.cancelInvite(params.id!),
  }),
];
