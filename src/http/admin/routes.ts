/**
 * Routes for admins: how the server does, who changed what.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import * as check from "../../core/validate.ts";
import { authorize } from "../rights/policy.ts";
import { rosterOf } from "../routes/roster.ts";
import { type Route, route } from "../pipeline/route.ts";
import { OPERATION_ANSWER, OPERATION_QUERY } from "./shapes.ts";

/** Rooms, as admins see them. */
export const ROSTERS: readonly Route[] = [
  route("GET /v1/rooms/{id}/roster", {
    id: "roomRoster",
    summary: "List a room's members with their names and whether each has the current key",
    who: "admin",
    query: OPERATION_QUERY.roster,
    answer: OPERATION_ANSWER.roster,
    errors: ["not_found"],
    handle: ({ store, params, query }) => rosterOf(store, params.id!, query),
  }),
];

/** Users, as admins see them. */
export const ACTIVITY: readonly Route[] = [
  route("GET /v1/users/{signPub}/activity", {
    id: "userActivity",
    summary: "Show a user's open bus connections, and its last request to this process",
    who: "admin",
    answer: OPERATION_ANSWER.activity,
    handle: ({ operations, params }) =>
      operations.activity(check.signPub("signPub", params.signPub)),
  }),
];

/** The server itself. */
export const OPERATIONS: readonly Route[] = [
  route("GET /v1/status", {
    id: "status",
    summary: "Show the status of the server and its cluster",
    who: "admin",
    answer: OPERATION_ANSWER.status,
    handle: ({ operations }) => operations.status(),
  }),
  route("GET /v1/counts", {
    id: "counts",
    summary: "Count users, rooms, open invites, bus connections and the changes of the last day",
    who: "admin",
    answer: OPERATION_ANSWER.counts,
    handle: ({ operations }) => operations.counts(),
  }),
  route("GET /v1/usage", {
    id: "usage",
    summary: "Show the number and total size of blobs; counted at most once a minute",
    who: "admin",
    answer: OPERATION_ANSWER.usage,
    handle: ({ operations }) => operations.usage(),
  }),
  route("GET /v1/history", {
    id: "history",
    summary: "Show the requests, refusals and latency of this process in the last hour",
    who: "admin",
    answer: OPERATION_ANSWER.history,
    handle: ({ operations }) => operations.history(),
  }),
  route("GET /v1/changes", {
    id: "listChanges",
    summary: "List who changed what, in the order of the changes; `wait` waits for new ones",
    who: "admin",
    query: OPERATION_QUERY.changes,
    waits: true,
    answer: OPERATION_ANSWER.changes,
    errors: ["too_old", "unsupported"],
    handle: (call) => {
      const { store, endpoint, isGone, operations } = call;
      const { wait = 0, ...query } = call.query;
      if (wait > 0 && (query.newest === true || query.before !== undefined)) {
        throw new StoreError("invalid", "wait must not be given with newest or before", {
          field: "wait",
        });
      }
      return operations.changes.read(query, {
        endpoint,
        wait: wait * 1000,
        isGone,
        demand: () => call.demand(() => authorize("admin", { store, endpoint })),
      });
    },
  }),
];
