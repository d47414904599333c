/**
 * The client's methods that pages need. Runs in browsers, Deno and Node: nothing in this folder imports a
 * `node:` module.
 *
 * @module
 */

import type { Changes } from "../../core/operations.ts";
import * as check from "../../core/validate.ts";
import { askOf, nothing, room } from "./ask.ts";
import type { Caller } from "./caller.ts";
import { jsonOf } from "./failure.ts";
import type { Client } from "../types.ts";

/** Time limit until a snapshot begins, milliseconds. */
const SNAPSHOT_MS = 5 * 60_000;

/** The methods that pages need. */
export type Calls = Pick<
  Client,
  | "register"
  | "checkInvite"
  | "me"
  | "listUsers"
  | "getUser"
  | "revokeUser"
  | "restoreUser"
  | "setUserRole"
  | "deleteUser"
  | "listInvites"
  | "createInvite"
  | "getInvite"
  | "cancelInvite"
  | "listRooms"
  | "roomRoster"
  | "listWaiting"
  | "changeRoomOwner"
  | "status"
  | "userActivity"
  | "usage"
  | "snapshot"
  | "counts"
  | "history"
  | "changes"
>;

/**
 * Returns the methods.
 *
 * @param caller Sends the calls
 * @param kexPub The caller's X25519 key, for `register`
 */
export function callsOf(caller: Pick<Caller, "call" | "timeout">, kexPub?: string): Calls {
  const ask = askOf(caller);
  return {
    // Methods are async so that an invalid argument rejects, as an error of the server does.
    async register(tokenOrLink, handle) {
      const token = check.inviteToken("token", tokenOrLink);
      return await ask("POST", "register", { json: { token, kexPub, handle } });
    },
    async checkInvite(tokenOrLink) {
      const token = check.inviteToken("token", tokenOrLink);
      return await ask("POST", "register/check", { json: { token }, signed: false });
    },
    me: () => ask("GET", "me"),

    listUsers: (page) => ask("GET", "users", { query: page }),
    getUser: async (signPub) => await ask("GET", user(signPub)),
    revokeUser: async (signPub, options) =>
      await ask("POST", `${user(signPub)}/revoke`, { json: options ?? {} }),
    restoreUser: async (signPub) => await ask("POST", `${user(signPub)}/restore`),
    setUserRole: async (signPub, role, options) =>
      await ask("POST", `${user(signPub)}/role`, { json: { ...options, role } }),
    deleteUser: async (signPub, options) =>
      await ask("DELETE", user(signPub), { query: options, read: nothing }),

    listInvites: (page) => ask("GET", "invites", { query: page }),
    createInvite: (invite) => ask("POST", "invites", { json: invite ?? {} }),
    getInvite: async (id) => await ask("GET", invite(id)),
    cancelInvite: async (id) => await ask("POST", `${invite(id)}/cancel`),

    listRooms: (page) => ask("GET", "rooms", { query: page }),
    roomRoster: async (roomId, options) =>
      await ask("GET", `${room(roomId)}/roster`, { query: options }),
    listWaiting: async (roomId, page) =>
      await ask("GET", `${room(roomId)}/waiting`, { query: page }),
    changeRoomOwner: async (roomId, endpoint) =>
      await ask("POST", `${room(roomId)}/owner`, { json: { endpoint } }),
    status: () => ask("GET", "status"),
    userActivity: async (signPub) => await ask("GET", `${user(signPub)}/activity`),
    usage: () => ask("GET", "usage"),
    snapshot: ({ signal, timeout = SNAPSHOT_MS } = {}) =>
      caller.call({
        method: "GET",
        path: "/v1/snapshot",
        timeout,
        ...(signal && { signal }),
        read: (response) => response.body!,
      }),
    counts: () => ask("GET", "counts"),
    history: () => ask("GET", "history"),
    changes({ signal, ...query } = {}) {
      const waits = (query.wait ?? 0) * 1000;
      return caller.call({
        method: "GET",
        path: "/v1/changes",
        query,
        waits,
        timeout: waits + caller.timeout,
        ...(signal && { signal }),
        read: async (response) => await jsonOf(response) as Changes,
      });
    },
  };
}

const user = (signPub: unknown): string => `users/${check.signPub("signPub", signPub)}`;
const invite = (id: unknown): string => `invites/${check.hashId("id", id)}`;
