/**
 * The shapes of what admins ask and are told: see `shapes.ts`.
 *
 * @module
 */

import { BUS_AUTH } from "../../core/operations.ts";
import { StoreError } from "../../core/errors.ts";
import { ACTIONS } from "../../core/history/entry.ts";
import { formatRevision, parseRevision } from "../../core/history/revision.ts";
import * as check from "../../core/validate.ts";
import { LIMITS } from "../../core/validate.ts";
import {
  ANSWER,
  boolean,
  booleanInQuery,
  count,
  memberRole,
  next,
  numberInQuery,
  paging,
  roomId,
  signPub,
  text,
  textUpTo,
  time,
  userStatus,
} from "../routes/shapes.ts";
import { by, described, list, nullable, object, oneOf, optional } from "../pipeline/schema.ts";
import { ROSTER_MAX } from "../routes/roster.ts";

/** Most changes of an answer. */
const CHANGES_MAX = 1_000;
/** Most seconds that a poll waits. */
const WAIT_MAX = 25;

const revision = by(
  (field, value) => formatRevision(parseRevision(field, value)),
  { type: "string", pattern: "^\\d+\\.\\d+$" },
);

/** Queries. */
export const OPERATION_QUERY = {
  roster: object({
    ...paging,
    limit: optional(numberInQuery(1, ROSTER_MAX, { default: 200 })),
    lacking: optional(described(booleanInQuery, "Only members without the current key")),
  }),
  changes: object({
    after: optional(described(revision, "Only changes after this revision")),
    before: optional(described(revision, "Only changes before this revision")),
    newest: optional(described(booleanInQuery, "The newest first")),
    user: optional(described(signPub, "Only changes of this user or member")),
    room: optional(described(roomId, "Only changes of this room")),
    invite: optional(
      by(check.hashId, { type: "string", description: "Only changes of this invite" }),
    ),
    by: optional(
      textUpTo(LIMITS.createdByChars, { description: "Only changes made by this author" }),
    ),
    action: optional(described(oneOf(ACTIONS), "Only changes of this kind")),
    since: optional(described(time, "Only changes made at this time or later")),
    limit: optional(numberInQuery(1, CHANGES_MAX, { default: 100 })),
    wait: optional(numberInQuery(0, WAIT_MAX, {
      default: 0,
      description: "Maximum number of seconds to wait if no change matches yet",
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

const followedHistory = object({
  revision: nullable(text({ description: "Revision of its newest entry; null for none" })),
  lag: count("Number of entries it is behind; above 1,000 not counted further"),
  problem: nullable(text({ description: "What is missing in it, or why it does not continue" })),
}, { title: "FollowerHistory", description: "The history in the follower's file" });

const FOLLOWED = {
  position: count("Position in the stream that it ends at"),
  lag: nullable(count("Number of messages it is behind")),
  exact: boolean("Whether it has the latest message up to `position` of every key"),
  alarm: nullable(text({ description: "Why nobody is admitted, and what to do" })),
  degraded: nullable(text({ description: "What is wrong that admission does not depend on" })),
  history: optional(nullable(followedHistory)),
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
    program: optional(nullable(text({ description: "Version of the membershipd on it" }))),
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
    behind: optional(nullable(count("Number of entries of the history that it lacks yet"))),
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

const values = nullable(by(check.object, {
  type: "object",
  additionalProperties: { type: ["string", "number", "boolean", "null"] },
  description: "Small values that changed, and counts; null for none",
}));

const change = object({
  revision: text({
    description: "Its place in the order of changes: later ones have greater ones",
  }),
  at: time,
  by: text({
    description: "Who made it: a signing key, `cli:USER@HOST`, `http` (a request without a " +
      "signature), `server` (the program itself), `library`, or another name a program chose",
  }),
  action: oneOf(ACTIONS),
  user: nullable(described(signPub, "The user or member it is about")),
  room: nullable(text({ description: "The room it is about" })),
  invite: nullable(text({ description: "The id of the invite it is about" })),
  before: values,
  after: values,
}, { title: "HistoryEntry" });

const connections = object({
  open: count("Number of open connections"),
  users: count("Number of users that have one"),
}, { title: "BusConnections" });

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
      accepted: optional(boolean("Whether the member has accepted its membership")),
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
  counts: object({
    users: nullable(object({
      total: count(),
      revoked: count(),
      admins: count("Active admins"),
    })),
    rooms: nullable(count()),
    invites: nullable(object({
      open: count("Invites that can be redeemed"),
      more: boolean("Whether only a part of all invites was looked at"),
    })),
    connections: nullable(connections),
    day: nullable(object({
      changes: count("Changes in the last 24 hours"),
      more: boolean("Whether only the newest were counted"),
      actions: by(check.object, {
        type: "object",
        additionalProperties: { type: "integer" },
        description: "The number of changes by action",
      }),
    })),
    at: time,
  }, { description: "What cannot be counted now is null" }),
  activity: object({
    connections: nullable(count("Number of open bus connections on all servers; null if unknown")),
    lastConnection: nullable(time),
    lastRequest: nullable(time),
    since: time,
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
    next: nullable(text({
      description:
        "The `after` of the next page, or its `before` if `newest`; null on the last page",
    })),
    handles: by(check.object, {
      type: "object",
      additionalProperties: { type: "string" },
      description: "The display names that the users in `items` have now, by signing key",
    }),
  }),
} as const;
