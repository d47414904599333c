/**
 * Routes of users and invites.
 *
 * @module
 */

import { isStoreError } from "../errors.ts";
import type { User } from "../model.ts";
import { type Route, route } from "./route.ts";
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
  route("GET /v1/me", {
    id: "me",
    summary: "Who the signing key is",
    who: "user",
    answer: ANSWER.me,
    handle: async (call) => {
      const endpoint = call.caller();
      let user: User | null = null;
      try {
        user = await call.store.getUser(endpoint);
      } catch (error) {
        // Only where nobody looks can one ask without being a user.
        if (!isStoreError(error, "not_found")) throw error;
      }
      return { json: { endpoint, user } };
    },
  }),
];

/** Users: the allowlist. */
export const USERS: readonly Route[] = [
  route("GET /v1/users", {
    id: "listUsers",
    summary: "List users by signing key",
    who: "admin",
    query: QUERY.page,
    answer: ANSWER.users,
    handle: async ({ store, query }) => ({ json: await store.listUsers(query) }),
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
  route("DELETE /v1/users/{signPub}", {
    id: "deleteUser",
    summary: "Remove a user; its memberships stay, inert",
    who: "admin",
    query: QUERY.force,
    errors: ["not_found", "last_admin"],
    handle: async ({ store, params, query }) => {
      await store.deleteUser(params.signPub!, query);
      return {};
    },
  }),
];

/** Invites. */
export const INVITES: readonly Route[] = [
  route("GET /v1/invites", {
    id: "listInvites",
    summary: "List invites by id",
    who: "admin",
    query: QUERY.page,
    answer: ANSWER.invites,
    handle: async ({ store, query }) => ({ json: await store.listInvites(query) }),
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
