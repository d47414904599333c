/**
 * The client's methods that pages do not need.
 *
 * @module
 */

import { each } from "../../core/store/iterables.ts";
import * as check from "../../core/validate.ts";
import { askOf, nothing, room } from "./ask.ts";
import type { Caller } from "./caller.ts";
import { changesFrom } from "./changes.ts";
import type { Calls } from "./client.ts";
import { jsonOf, textOf } from "./failure.ts";
import type { Client } from "../types.ts";

/** The methods. */
type ProgramCalls = Pick<
  Client,
  | "addUser"
  | "getRoom"
  | "deleteRoom"
  | "listMembers"
  | "getMember"
  | "joinRoom"
  | "handOverRoom"
  | "removeMember"
  | "users"
  | "invites"
  | "rooms"
  | "members"
  | "waiting"
  | "follow"
  | "isAlive"
  | "readiness"
  | "metrics"
  | "openApi"
>;

/**
 * Returns the methods.
 *
 * @param calls The methods that some of them use
 */
export function programCallsOf(caller: Pick<Caller, "call">, calls: Calls): ProgramCalls {
  const ask = askOf(caller);
  const get = (path: string): Promise<string> =>
    caller.call({ method: "GET", path, signed: false, read: textOf });

  const listMembers: Client["listMembers"] = async (roomId, page) =>
    await ask("GET", `${room(roomId)}/members`, { query: page });
  return {
    addUser: async (user) => await ask("POST", "users", { json: check.object("user", user) }),
    getRoom: async (id) => await ask("GET", room(id)),
    deleteRoom: async (id) => await ask("DELETE", room(id), { read: nothing }),

    listMembers,
    getMember: async (roomId, endpoint) => await ask("GET", memberOf(roomId, endpoint)),
    joinRoom: async (roomId) => await ask("POST", `${room(roomId)}/join`),
    handOverRoom: async (roomId, handover) =>
      await ask("POST", `${room(roomId)}/handover`, {
        json: { handover: check.handover("handover", handover) },
      }),
    removeMember: async (roomId, endpoint) =>
      await ask("DELETE", memberOf(roomId, endpoint), { read: nothing }),

    follow: (options) => changesFrom(calls.changes, options),

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
    openApi: () =>
      caller.call({
        method: "GET",
        path: "/openapi.json",
        signed: false,
        read: async (response) => await jsonOf(response) as Record<string, unknown>,
      }),

    users: (page) => each(calls.listUsers, page),
    invites: (page) => each(calls.listInvites, page),
    rooms: (page) => each(calls.listRooms, page),
    members: (roomId, page) => each((next) => listMembers(roomId, next), page),
    waiting: (roomId, page) => each((next) => calls.listWaiting(roomId, next), page),
  };
}

const memberOf = (roomId: unknown, endpoint: unknown): string =>
  `${room(roomId)}/members/${check.signPub("endpoint", endpoint)}`;
