/**
 * Routes of users and invites.
 *
 * @module
 */

import { inviteProblem } from "../../core/rules.ts";
import { inviteId } from "../../core/store.ts";
import { removeUser } from "../../core/remove_user.ts";
import * as check from "../../core/validate.ts";
import { invitesOf } from "./invite_search.ts";
import { userOf } from "../rights/lookup.ts";
import { type Route, route } from "../pipeline/route.ts";
import { SEARCH } from "./search_shapes.ts";
import { ANSWER, BODY, QUERY } from "./shapes.ts";

/** Who one is, and joining. */
export const ME: readonly Route[] = [
  route("POST /v1/register", {
    id: "register",
    summary: "Redeem an invite: the key that signs becomes a user",
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
      return { json: await call.store.consumeInvite(token, claim) };
    },
  }),
  route("POST /v1/register/check", {
    id: "checkInvite",
    summary: "Whether an invite can still be redeemed; spends nothing",
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
      return { json: { role, expiresAt } };
    },
  }),
  route("GET /v1/me", {
    id: "me",
    summary: "Who the signing key is",
    who: "user",
    answer: ANSWER.me,
    handle: async (call) => {
      const endpoint = call.caller();
      // Only where nobody looks can one ask without being a user.
      return { json: { endpoint, user: await userOf(call.store, endpoint) } };
    },
  }),
];

/** Users: the allowlist. */
export const USERS: readonly Route[] = [
  route("GET /v1/users", {
    id: "listUsers",
    summary: "List users by signing key, all or those that match; a page may be short of `limit`",
    who: "admin",
    query: SEARCH.users,
    answer: ANSWER.users,
    handle: async ({ store, query, operations }) => {
      const { limit, after, ...filter } = query;
      const page = { ...limit === undefined ? {} : { limit }, after: after ?? null };
      if (Object.keys(filter).length === 0) return { json: await store.listUsers(page) };
      const key = after === undefined ? null : check.hashId("after", after);
      return { json: await operations.users.search(filter, { ...page, after: key }) };
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
    handle: async ({ store, body }) => ({ json: await store.addUser(body) }),
  }),
  route("GET /v1/users/{signPub}", {
    id: "getUser",
    summary: "Read a user, as for the key to seal a room key to",
    who: "user",
    answer: ANSWER.user,
    errors: ["not_found"],
    handle: async ({ store, params }) => ({ json: await store.getUser(params.signPub!) }),
  }),
  route("POST /v1/users/{signPub}/revoke", {
    id: "revokeUser",
    summary: "Take a user's access, from the next request on; open connections to the bus are cut",
    who: "admin",
    body: BODY.force,
    answer: ANSWER.user,
    errors: ["not_found", "last_admin"],
    handle: async ({ store, params, body }) => ({
      json: await store.revokeUser(params.signPub!, body),
    }),
  }),
  route("POST /v1/users/{signPub}/restore", {
    id: "restoreUser",
    summary: "Give a revoked user access again",
    who: "admin",
    answer: ANSWER.user,
    errors: ["not_found"],
    handle: async ({ store, params }) => ({ json: await store.restoreUser(params.signPub!) }),
  }),
  route("POST /v1/users/{signPub}/role", {
    id: "setUserRole",
    summary: "Make a user an admin, or no more, from the next request on",
    who: "admin",
    body: BODY.role,
    answer: ANSWER.user,
    errors: ["not_found", "last_admin"],
    handle: async ({ store, params, body: { role, ...options } }) => ({
      json: await store.setUserRole(params.signPub!, role, options),
    }),
  }),
  route("DELETE /v1/users/{signPub}", {
    id: "deleteUser",
    summary: "Remove a user and end its memberships; rooms it owns stay with it",
    who: "admin",
    query: QUERY.deleteUser,
    errors: ["not_found", "last_admin"],
    handle: async ({ store, params, query: { keepMemberships = false, ...options } }) => {
      if (keepMemberships) await store.deleteUser(params.signPub!, options);
      else await removeUser(store, params.signPub!, options);
      return {};
    },
  }),
];

/** Invites. */
export const INVITES: readonly Route[] = [
  route("GET /v1/invites", {
    id: "listInvites",
    summary: "List invites by id, all or those of one state; a page may be short of `limit`",
    who: "admin",
    query: SEARCH.invites,
    answer: ANSWER.invites,
    handle: async ({ store, query: { state, ...page } }) => ({
      json: state === undefined
        ? await store.listInvites(page)
        : await invitesOf(store, state, page),
    }),
  }),
  route("POST /v1/invites", {
    id: "createInvite",
    summary: "Make a single-use invite; its token is in this answer and nowhere else",
    who: "admin",
    body: BODY.newInvite,
    status: 201,
    answer: ANSWER.createdInvite,
    handle: async ({ store, body, endpoint }) => ({
      json: await store.createInvite({ ...body, createdBy: endpoint ?? "http" }),
    }),
  }),
  route("GET /v1/invites/{id}", {
    id: "getInvite",
    summary: "Read an invite",
    who: "admin",
    answer: ANSWER.invite,
    errors: ["not_found"],
    handle: async ({ store, params }) => ({ json: await store.getInvite(params.id!) }),
  }),
  route("POST /v1/invites/{id}/cancel", {
    id: "cancelInvite",
    summary: "Cancel an invite; again changes nothing",
    who: "admin",
    answer: ANSWER.invite,
    errors: ["not_found", "invite_used"],
    handle: async ({ store, params }) => ({ json: await store.cancelInvite(params.id!) }),
  }),
];
