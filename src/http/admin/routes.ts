/**
 * Routes for admins: how the server does, what was done, and by whom.
 *
 * @module
 */

import { authorize } from "../rights/policy.ts";
import { rosterOf } from "../routes/roster.ts";
import { type Route, route } from "../pipeline/route.ts";
import { OPERATION_ANSWER, OPERATION_QUERY } from "./shapes.ts";

/** Default number of changes in a response. */
const CHANGES_DEFAULT = 100;

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

/** The server itself. */
export const OPERATIONS: readonly Route[] = [
  route("GET /v1/status", {
    id: "status",
    summary: "Show the status of the server and its cluster",
    who: "admin",
    answer: OPERATION_ANSWER.status,
    handle: ({ operations }) => operations.status(),
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
    summary: "List changes made through this process, newest first; `wait` waits for new ones",
    who: "admin",
    query: OPERATION_QUERY.changes,
    waits: true,
    answer: OPERATION_ANSWER.changes,
    handle: (call) => {
      const { store, endpoint, isGone, query, operations } = call;
      const { after, limit = CHANGES_DEFAULT, wait = 0 } = query;
      return operations.changes.poll({
        endpoint,
        after,
        limit,
        wait: wait * 1000,
        isGone,
        demand: () => call.demand(() => authorize("admin", { store, endpoint })),
      });
    },
  }),
];
