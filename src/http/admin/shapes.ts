/**
 * The shapes of what admins ask and are told: see `shapes.ts`.
 *
 * @module
 */

import { BUS_AUTH } from "../../core/operations.ts";
import { StoreError } from "../../core/errors.ts";
import {
  ANSWER,
  boolean,
  booleanInQuery,
  count,
  memberRole,
  next,
  numberInQuery,
  paging,
  role,
  signPub,
  text,
  textUpTo,
  time,
  userStatus,
} from "../routes/shapes.ts";
import { by, described, list, nullable, object, oneOf, optional } from "../pipeline/schema.ts";
import { ROSTER_MAX } from "../routes/roster.ts";

/** Most changes of an answer. */
const CHANGES_MAX = 1_500;
/** Most seconds that a poll waits. */
const WAIT_MAX = 25;

/** Queries. */
export const OPERATION_QUERY = {
  roster: object({
    ...paging,
    limit: optional(numberInQuery(1, ROSTER_MAX, { default: 200 })),
    lacking: optional(described(booleanInQuery, "Only members without the current key")),
  }),
  changes: object({
    after: optional(textUpTo(64, {
      description: "The `next` of the previous response; default: return the newest changes",
    })),
    limit: optional(numberInQuery(1, CHANGES_MAX, { default: 100 })),
    wait: optional(numberInQuery(0, WAIT_MAX, {
      default: 0,
      description: "Maximum number of seconds to wait for the first change after `after`",
    })),
  }),
} as const;

const copy = object({
  node: text(),
  leads: boolean("Whether this node is the leader"),
  current: boolean("Whether it is current with the leader"),
  reachable: boolean("Whether the leader can reach it"),
  lag: count("Number of operations it is behind"),
}, { title: "BucketCopy" });

const FOLLOWED = {
  position: count("Position in the stream that it ends at"),
  lag: nullable(count("Number of messages it is behind")),
  exact: boolean("Whether it has the latest message up to `position` of every key"),
  alarm: nullable(text({ description: "Why nobody is admitted, and what to do" })),
  degraded: nullable(text({ description: "What is wrong that admission does not depend on" })),
} as const;

const follower = object({
  role: oneOf(["apply", "read"]),
  ...FOLLOWED,
  digest: text({ description: "Equal in exact followers of one position" }),
  entries: count("Number of keys"),
  quarantined: count("Number of invalid records"),
  updatedAt: nullable(time),
  failure: nullable(text({ description: "Why following has stopped; it is tried again" })),
}, { title: "FollowerStatus" });

const cluster = object({
  cluster: nullable(text()),
  healthy: boolean("Whether there are no problems"),
  quorum: nullable(object({
    ok: boolean("Whether enough nodes are reachable"),
    size: count(),
    reachable: count(),
    needed: count(),
  })),
  nodes: list(object({
    name: text(),
    version: nullable(text()),
    reachable: boolean("Whether it responds"),
    leads: boolean("Whether it is the leader of the cluster"),
    current: nullable(boolean("Whether it is current with the leader")),
    syncs: nullable(boolean("Whether each write is synced to disk before it is acknowledged")),
    follower: optional(nullable(object(FOLLOWED, { title: "NodeFollower" }))),
  }, { title: "ClusterNode" })),
  buckets: list(object({
    bucket: text(),
    holds: oneOf(["control plane", "history", "blobs"]),
    replicas: nullable(count()),
    leader: nullable(text()),
    whole: boolean("Whether all copies exist and are current"),
    copies: list(copy),
    messages: nullable(count()),
    bytes: nullable(count()),
  }, { title: "BucketStatus" })),
  problems: list(text()),
}, { title: "ClusterStatus" });

const journey = object({
  direction: oneOf(["grow", "shrink"]),
  state: oneOf(["running", "paused", "done", "failed", "called-off"]),
  phase: nullable(text()),
  done: count("Number of records, blobs or copies done in this phase"),
  total: nullable(count()),
  lag: nullable(count("Number of changes that are still to be copied")),
  pause: nullable(count("Milliseconds for which writes waited at the switch")),
  reason: nullable(text()),
}, { title: "Journey", description: "A move of the control plane while it serves" });

const change = object({
  n: count("Sequence number; later changes have greater ones"),
  at: time,
  kind: oneOf(["users", "invites", "rooms", "elsewhere"]),
  action: text({
    description: "The id of the operation; `elsewhere` if it was not made through this process",
  }),
  by: nullable(object({
    signPub: nullable(signPub),
    handle: nullable(text()),
    proved: boolean("Whether a signature proved the key"),
  })),
  about: object({
    user: optional(text()),
    handle: optional(text()),
    role: optional(role),
    invite: optional(text()),
    room: optional(text()),
    epoch: optional(count()),
  }, { description: "What was changed; only fields that apply. Empty: anything may have changed" }),
  outcome: text({ description: "`done`, or an error code" }),
  count: count("Number of identical changes combined in this entry"),
}, { title: "Change" });

const ms = nullable(by((field, value) => {
  if (typeof value === "number") return value;
  throw new StoreError("invalid", `${field} must be a number`, { field });
}, { type: "number", description: "Milliseconds; null if there were no requests" }));

/** Answers. */
export const OPERATION_ANSWER = {
  roster: object({
    room: ANSWER.room,
    members: count("Number of members of the whole room"),
    lacking: count("Number of members without the current key in the whole room"),
    items: list(object({
      endpoint: signPub,
      role: memberRole,
      joinedAt: time,
      handle: nullable(text()),
      status: nullable(userStatus),
      hasKey: nullable(boolean("Whether the member has the current key; null in a cleartext room")),
    }, { title: "RosterEntry" })),
    next,
  }),
  status: object({
    version: text(),
    busAuth: oneOf([...BUS_AUTH]),
    startedAt: time,
    backend: text(),
    search: boolean("Whether users and rooms can be searched and sorted"),
    ok: boolean("Whether every check is ok"),
    checks: list(object({
      name: text(),
      ok: boolean("Whether the check passed"),
      degraded: optional(boolean("Whether something is wrong that requests do not depend on")),
      detail: text(),
    })),
    follower: nullable(follower),
    cluster: nullable(cluster),
    journey: nullable(journey),
  }),
  usage: object({ blobs: nullable(object({ count: count(), bytes: count(), at: time })) }),
  history: object({
    seconds: count("Length of an interval in seconds"),
    now: time,
    buckets: list(object({
      at: time,
      requests: count(),
      denied: count("Requests refused for their signature or permissions"),
      failed: count("5xx responses"),
      p50: ms,
      p95: ms,
      p99: ms,
    }, { title: "HistoryBucket" })),
  }),
  changes: object({
    items: list(change),
    next: text({ description: "Pass it as `after` in the next request" }),
    reset: boolean("Whether changes between `after` and these were missed"),
  }),
} as const;
