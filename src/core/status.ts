/**
 * The mapping between error codes and HTTP statuses, for the server and the client.
 *
 * @module
 */

import type { StoreErrorCode } from "./errors.ts";

/** The HTTP status of each code. */
export const STATUS: Readonly<Record<StoreErrorCode, number>> = Object.freeze({
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  room_exists: 409,
  member_exists: 409,
  user_exists: 409,
  room_owner: 409,
  last_admin: 409,
  missing_key: 409,
  conflict: 409,
  refused: 409,
  invite_used: 410,
  invite_expired: 410,
  invite_canceled: 410,
  too_old: 410,
  too_large: 413,
  quota_exceeded: 413,
  rate_limited: 429,
  unavailable: 503,
  closed: 503,
  aborted: 503,
  in_progress: 503,
  unsupported: 500,
  corrupt: 500,
  mismatch: 500,
});

/** The code for a response that has none, such as one of a proxy. */
const BY_STATUS: Readonly<Record<number, StoreErrorCode>> = {
  400: "invalid",
  401: "unauthenticated",
  403: "forbidden",
  404: "not_found",
  409: "conflict",
  413: "too_large",
  429: "rate_limited",
};

/** Returns the error code of a response: the one in it if that is known, else one for its status. */
export function codeOf(status: number, said: unknown): StoreErrorCode {
  if (typeof said === "string" && Object.hasOwn(STATUS, said)) return said as StoreErrorCode;
  // A redirect, or a status that no control plane sends: the server is something else.
  return BY_STATUS[status] ?? (status >= 500 ? "unavailable" : "unsupported");
}

/** The header of every response that says the generation of the control plane. */
export const GENERATION_HEADER = "unibus-generation";

/**
 * The header that says the revision of a write, on its response; and on a request, the revision that what
 * it reads must include.
 */
export const REVISION_HEADER = "unibus-revision";

/** The header that says the version of the list of nodes, on responses to users of a control plane with several. */
export const NODES_HEADER = "unibus-nodes";
