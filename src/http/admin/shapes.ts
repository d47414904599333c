/**
 * The shapes of what admins ask and are told: see `shapes.ts`.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import * as check from "../../core/validate.ts";
import {
  ANSWER,
  boolean,
  booleanInQuery,
  numberInQuery,
  paging,
  role,
  signPub,
  text,
  time,
} from "../routes/shapes.ts";
import {
  by,
  described,
  list,
  nullable,
  object,
  optional,
  type Schema,
} from "../pipeline/schema.ts";
import { ROSTER_MAX } from "../routes/roster.ts";
import { oneOf, textUpTo, userStatus } from "../routes/search_shapes.ts";

/** Most changes of an answer. */
const CHANGES_MAX = 1_500;
/** Most seconds that a poll waits. */
const WAIT_MAX = 25;

const count = (description?: string): Schema<number> =>
  by((field, value) => check.integer(field, value, 0, Number.MAX_SAFE_INTEGER), {
    type: "integer",
    minimum: 0,
    ...description === undefined ? {} : { description },
  });

/** Queries. */
export const OPERATION_QUERY = {
  roster: object({
    ...paging,
    limit: optional(numberInQuery(1, ROSTER_MAX, { default: 200 })),
    lacking: optional(described(booleanInQuery, "Only those without the current key")),
  }),
  changes: object({
    after: optional(textUpTo(64, {
      description: "The `next` of the answer before; left out: the newest there are",
    })),
    limit: optional(numberInQuery(1, CHANGES_MAX, { default: 100 })),
    wait: optional(numberInQuery(0, WAIT_MAX, {
      default: 0,
      description: "Most seconds to wait for the first change behind `after`",
    })),
  }),
} as const;

const copy = object({
  node: text(),
  leads: boolean("Whether it leads"),
  current: boolean("Whether it has what the leader has"),
  reachable: boolean("Whether the leader hears from it"),
  lag: count("Operations it is behind"),
}, { title: "BucketCopy" });

const cluster = object({
  cluster: nullable(text()),
  healthy: boolean("Whether nothing is wrong"),
  quorum: nullable(object({
    ok: boolean("Whether enough nodes are there"),
    size: count(),
    reachable: count(),
    needed: count(),
  })),
  nodes: list(object({
    name: text(),
    version: nullable(text()),
    reachable: boolean("Whether it answers"),
    leads: boolean("Whether it leads the cluster"),
    current: nullable(boolean("Whether it knows what the leader knows")),
    syncs: nullable(boolean("Whether each write is on its disk before it is acknowledged")),
  }, { title: "ClusterNode" })),
  buckets: list(object({
    bucket: text(),
    holds: oneOf(["control plane", "blobs"]),
    replicas: nullable(count()),
    leader: nullable(text()),
    whole: boolean("Whether all copies are there and current"),
    copies: list(copy),
    messages: nullable(count()),
    bytes: nullable(count()),
  }, { title: "BucketStatus" })),
  problems: list(text()),
}, { title: "ClusterStatus" });

const change = object({
  n: count("A later one is greater"),
  at: time,
  kind: oneOf(["users", "invites", "rooms", "elsewhere"]),
  action: text({ description: "The id of the operation; `elsewhere`: not through this process" }),
  by: nullable(object({
    signPub: nullable(signPub),
    handle: nullable(text()),
    proved: boolean("Whether the key was proved by a signature"),
  })),
  about: object({
    user: optional(text()),
    handle: optional(text()),
    role: optional(role),
    invite: optional(text()),
    room: optional(text()),
    epoch: optional(count()),
  }, { description: "Only what applies; empty for anything" }),
  outcome: text({ description: "`done`, or the code of the error" }),
  count: count("How many alike this stands for"),
}, { title: "Change" });

const ms = nullable(by((field, value) => {
  if (typeof value === "number") return value;
  throw new StoreError("invalid", `${field} must be a number`, { field });
}, { type: "number", description: "Milliseconds; null without requests" }));

/** Answers. */
export const OPERATION_ANSWER = {
  roster: object({
    room: ANSWER.room,
    members: count("Of the whole room"),
    lacking: count("Of the whole room"),
    items: list(object({
      endpoint: signPub,
      role: oneOf(["owner", "member"]),
      joinedAt: time,
      handle: nullable(text()),
      status: nullable(userStatus),
      hasKey: nullable(boolean("Whether it has the current key; null in a cleartext room")),
    }, { title: "RosterEntry" })),
    next: nullable(text({ description: "`after` of the next page; null on the last" })),
  }),
  status: object({
    version: text(),
    busAuth: oneOf(["off", "soft", "enforce"]),
    startedAt: time,
    backend: text(),
    ok: boolean("Whether every check is"),
    checks: list(object({ name: text(), ok: boolean("Whether it is so"), detail: text() })),
    cluster: nullable(cluster),
  }),
  usage: object({ blobs: nullable(object({ count: count(), bytes: count(), at: time })) }),
  history: object({
    seconds: count("How long a stretch is"),
    now: time,
    buckets: list(object({
      at: time,
      requests: count(),
      denied: count("Refused signatures and rights"),
      failed: count("Answers of 5xx"),
      p50: ms,
      p95: ms,
      p99: ms,
    }, { title: "HistoryBucket" })),
  }),
  changes: object({
    items: list(change),
    next: text({ description: "`after` of the next request" }),
    reset: boolean("Whether these do not join on to what was asked for"),
  }),
} as const;
