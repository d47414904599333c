/**
 * The client's methods, one for each endpoint of the control plane. Runs in browsers, Deno and Node:
 * nothing in this folder imports a `node:` module.
 *
 * @module
 */

import type { Changes } from "../../core/operations.ts";
import { each } from "../../core/store/iterables.ts";
import * as check from "../../core/validate.ts";
import { askOf, nothing, room } from "./ask.ts";
import type { Caller } from "./caller.ts";
import { jsonOf, textOf } from "./failure.ts";
import type { KeyCalls } from "./keys.ts";
import type { Client } from "../types.ts";

/** The methods that need files or incremental SHA-256, which Web Crypto does not have. */
export type BlobCalls = Pick<Client, "putBlob" | "getBlob" | "statBlob" | "deleteBlob">;

/** All other methods, without those for sealed keys, which not every page needs. */
export type Calls = Omit<
  Client,
  keyof BlobCalls | keyof KeyCalls | "nodes" | "generation" | "close" | typeof Symbol.dispose
>;

/**
 * Returns the methods.
 *
 * @param caller Sends the calls
 * @param kexPub The caller's X25519 key, for `register`
 */
export function callsOf(caller: Pick<Caller, "call" | "timeout">, kexPub?: string): Calls {
  const ask = askOf(caller);
  const get = (path: string): Promise<string> =>
    caller.call({ method: "GET", path, signed: false, read: textOf });

  const calls: Calls = {
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
    addUser: async (user) => await ask("POST", "users", { json: check.object("user", user) }),
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
    getRoom: async (id) => await ask("GET", room(id)),
    deleteRoom: async (id) => await ask("DELETE", room(id), { read: nothing }),

    listMembers: async (roomId, page) =>
      await ask("GET", `${room(roomId)}/members`, { query: page }),
    getMember: async (roomId, endpoint) => await ask("GET", memberOf(roomId, endpoint)),
    joinRoom: async (roomId) => await ask("POST", `${room(roomId)}/join`),
    changeRoomOwner: async (roomId, endpoint) =>
      await ask("POST", `${room(roomId)}/owner`, { json: { endpoint } }),
    removeMember: async (roomId, endpoint) =>
      await ask("DELETE", memberOf(roomId, endpoint), { read: nothing }),

    roomRoster: async (roomId, options) =>
      await ask("GET", `${room(roomId)}/roster`, { query: options }),
    status: () => ask("GET", "status"),
    usage: () => ask("GET", "usage"),
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

    isAlive: () => get("/healthz").then(() => true, () => false),
    readiness: () =>
      caller.call({
        method: "GET",
        path: "/readyz",
        signed: false,
        accept: [503],
        read: async (response) => await jsonOf(response) as { ok: boolean; checks: [] },
      }),
    metrics: () => get("/metrics"),
    openApi: async () => JSON.parse(await get("/openapi.json")),

    users: (page) => each(calls.listUsers, page),
    invites: (page) => each(calls.listInvites, page),
    rooms: (page) => each(calls.listRooms, page),
    members: (roomId, page) => each((next) => calls.listMembers(roomId, next), page),
  };
  return calls;
}

const user = (signPub: unknown): string => `users/${check.signPub("signPub", signPub)}`;
const invite = (id: unknown): string => `invites/${check.hashId("id", id)}`;
const memberOf = (roomId: unknown, endpoint: unknown): string =>
  `${room(roomId)}/members/${check.signPub("endpoint", endpoint)}`;
