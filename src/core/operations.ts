/**
 * What a control plane reports to admins: its nodes, charts and history.
 *
 * @module
 */

import type { HistoryAction, HistoryEntry } from "./history/entry.ts";
import type { HealthCheck, MemberRole, Page, Room, UserStatus } from "./model.ts";

/**
 * How signatures are checked. `off`: not at all, so anyone who can reach the server can do anything. `soft`:
 * requests that `enforce` would refuse are only reported. `enforce`: they are refused.
 */
export type BusAuth = "off" | "soft" | "enforce";

/** All values, the weakest first. */
export const BUS_AUTH: readonly BusAuth[] = ["off", "soft", "enforce"];

/** One node of a cluster. */
export interface ClusterNode {
  /** Its name. */
  name: string;
  /** The version of its nats-server; null while it does not respond. */
  version: string | null;
  /** The version of the `membershipd` on it; null or absent if none answers. */
  program?: string | null;
  /** Whether it responds. */
  reachable: boolean;
  /** Whether it is the leader of the cluster, which need not be the leader of a bucket. */
  leads: boolean;
  /** Whether it is current with the cluster's leader; null if unknown. */
  current: boolean | null;
  /** Whether each write is synced to disk before it is acknowledged; null while it does not respond. */
  syncs: boolean | null;
  /** The follower on it; null or absent for none, or if it does not respond. */
  follower?:
    | Pick<FollowerStatus, "position" | "lag" | "exact" | "alarm" | "degraded" | "history">
    | null;
}

/** One copy of a bucket. */
export interface BucketCopy {
  /** The node it is on. */
  node: string;
  /** Whether this node is the leader. */
  leads: boolean;
  /** Whether it is current with the leader. */
  current: boolean;
  /** Whether the leader can reach it. */
  reachable: boolean;
  /** Number of operations it is behind. */
  lag: number;
}

/** A bucket and its copies. */
export interface BucketStatus {
  /** Its name. */
  bucket: string;
  /** What is in it. */
  holds: "control plane" | "history" | "blobs";
  /** Configured number of copies; null if unknown. */
  replicas: number | null;
  /** The leader; null if there is none, and on a server that is not in a cluster. */
  leader: string | null;
  /** Whether all copies exist and are current. */
  whole: boolean;
  /** Its copies. */
  copies: BucketCopy[];
  /** Number of messages; null if unknown. */
  messages: number | null;
  /** Their size in bytes; null if unknown. */
  bytes: number | null;
  /**
   * Number of entries of the history that it does not have yet, but the bucket of the control plane has. Only
   * for the history.
   */
  behind?: number | null;
}

/** A cluster. */
export interface ClusterStatus {
  /** Its name; null for a server that is not in a cluster, and without the key of the system account. */
  cluster: string | null;
  /** Whether there are no problems. */
  healthy: boolean;
  /** Whether enough nodes are reachable; null without the key of the system account. */
  quorum: { ok: boolean; size: number; reachable: number; needed: number } | null;
  /** The nodes; without the key of the system account those that have copies. */
  nodes: ClusterNode[];
  /** The buckets. */
  buckets: BucketStatus[];
  /** Problems, each with what to do. */
  problems: string[];
}

/** How far the history in a follower's file has come. */
export interface FollowerHistoryStatus {
  /** Revision of its newest entry; null for none. */
  revision: string | null;
  /** Number of entries that it is behind; above 1,000 not counted further. */
  lag: number;
  /** What is missing in it, or why it does not continue; null for nothing. */
  problem: string | null;
}

/** Status of a follower: the second copy of a bucket in a SQLite file. */
export interface FollowerStatus {
  /** `apply` if the server writes the file, `read` if another process does. */
  role: "apply" | "read";
  /** Position in the stream that it ends at; 0 before the first load. */
  position: number;
  /** Number of messages it is behind; null if unknown. */
  lag: number | null;
  /** Whether it has the latest message up to `position` of every key. */
  exact: boolean;
  /** Digest of what it holds, equal in exact followers of one position. */
  digest: string;
  /** Number of keys. */
  entries: number;
  /** Number of invalid records. */
  quarantined: number;
  /** When the file was last written; null before the first load. */
  updatedAt: string | null;
  /** The history in it; null or absent if the bucket keeps none, or before it is known. */
  history?: FollowerHistoryStatus | null;
  /** Why nobody is admitted, and what to do; null if there is no such reason. */
  alarm: string | null;
  /** What is wrong that admission does not depend on, and what to do; null for nothing. */
  degraded: string | null;
  /** Why following has stopped; it is tried again. Null while it works. */
  failure: string | null;
}

/** One node of a control plane, for its clients. */
export interface ControlPlaneNode {
  /** Its name; null if it has none. */
  name: string | null;
  /** The URLs of its HTTP server for clients; empty if unknown. */
  urls: string[];
  /** The URLs of its NATS server for clients; empty if unknown. */
  busUrls: string[];
  /** The URLs of its NATS server over WebSocket, for browsers; empty if it has none or they are unknown. */
  wsUrls: string[];
  /** Whether its NATS server admits the keys of sessions; missing on older versions. */
  sessions?: boolean;
  /** Whether it answered when the responding server asked last. */
  answers: boolean;
}

/** The nodes of a control plane. */
export interface ControlPlaneNodes {
  /** The nodes. */
  nodes: ControlPlaneNode[];
}

/** A move of the control plane between a file and a cluster, while it serves. */
export interface Journey {
  /** `grow`: into the cluster; `shrink`: into the file of this server. */
  direction: "grow" | "shrink";
  /** `paused`: it has begun, and the same command continues it. */
  state: "running" | "paused" | "done" | "failed" | "called-off";
  /** What it does, or did last. */
  phase: string | null;
  /** Records, blobs or copies done in this phase. */
  done: number;
  /** Number of all; null if unknown. */
  total: number | null;
  /** Number of changes that are still to be copied; null if unknown. */
  lag: number | null;
  /** Milliseconds for which writes waited at the switch; null before. */
  pause: number | null;
  /** Why it failed or is paused; null if it is not. */
  reason: string | null;
}

/** Status of the responding server and its store. */
export interface ServerStatus {
  /** Its version. */
  version: string;
  /** How signatures are checked. */
  busAuth: BusAuth;
  /** When it was started. */
  startedAt: string;
  /** The store's backend: `sqlite` or `jetstream`. */
  backend: string;
  /** Whether users and rooms can be searched and sorted. */
  search: boolean;
  /** Whether every check is ok. */
  ok: boolean;
  /** The checks of `/readyz`. */
  checks: HealthCheck[];
  /** The follower; null if the server keeps none. */
  follower: FollowerStatus | null;
  /** The nodes and buckets; null if nothing is stored in NATS. */
  cluster: ClusterStatus | null;
  /** The last move of the control plane since the start; null if there was none. */
  journey: Journey | null;
}

/** Storage used besides the control plane's records. */
export interface Usage {
  /** Number and size of blobs as of `at`; null if blobs are off. */
  blobs: { count: number; bytes: number; at: string } | null;
}

/** Open connections to the bus, on all of its servers. */
export interface BusConnections {
  /** Number of open connections. */
  open: number;
  /** Number of users that have one. */
  users: number;
  /** When the last one of the endpoint asked for was closed, as far as is known; null for none. */
  closedAt?: string | null;
}

/** What is known of a user's activity. */
export interface UserActivity {
  /** Number of its open connections to the bus, on all servers; null if unknown. */
  connections: number | null;
  /** When the last one was closed; null for none since `since`. */
  lastConnection: string | null;
  /** When it sent its last request to the responding process; null for none since `since`. */
  lastRequest: string | null;
  /** The start of that process. */
  since: string;
}

/** How much there is. What cannot be counted now is null. */
export interface PlaneCounts {
  /** Users; null without a search. `admins` are the active ones. */
  users: { total: number; revoked: number; admins: number } | null;
  /** Number of rooms; null without a search. */
  rooms: number | null;
  /** Invites that can be redeemed; `more` if only a part of all invites was looked at. */
  invites: { open: number; more: boolean } | null;
  /** Connections to the bus; null unless the control plane admits them under `enforce`. */
  connections: BusConnections | null;
  /**
   * Changes of the last 24 hours, by action; `more` if only the newest were counted. Null if no history
   * is kept.
   */
  day: { changes: number; more: boolean; actions: Partial<Record<HistoryAction, number>> } | null;
  /** When they were counted. */
  at: string;
}

/** A page of the history. */
export interface Changes extends Page<HistoryEntry> {
  /** The display names that the users in it have now, by signing key. */
  handles: Record<string, string>;
}

/** What happened in one interval. */
export interface HistoryBucket {
  /** Start of the interval. */
  at: string;
  /** Requests answered, except those that wait for changes. */
  requests: number;
  /**
   * Requests refused for their signature or permissions; under `soft`, those that `enforce` would have
   * refused.
   */
  denied: number;
  /** 5xx responses. */
  failed: number;
  /** Median latency in milliseconds; null if there were no requests. */
  p50: number | null;
  /** 95th percentile of the latency. */
  p95: number | null;
  /** 99th percentile of the latency. */
  p99: number | null;
}

/** The last hour, oldest first. */
export interface History {
  /** Length of an interval, in seconds. */
  seconds: number;
  /** The server's clock. */
  now: string;
  /** The intervals in which the process ran; the last one is incomplete. */
  buckets: HistoryBucket[];
}

/** A member of a room as admins see it, without its keys. */
export interface RosterEntry {
  /** Its signing key. */
  endpoint: string;
  /** `owner` or `member`. */
  role: MemberRole;
  /** When it was added. */
  joinedAt: string;
  /** `false` for an offer that it has not accepted. Absent from servers that do not report it. */
  accepted?: boolean;
  /** The user's display name; null if there is no such user. */
  handle: string | null;
  /** Status of its user; null if there is no such user. */
  status: UserStatus | null;
  /** Whether it has a sealed key of the room's current epoch; null in a cleartext room. */
  hasKey: boolean | null;
}

/** A room and who is in it, a page at a time. */
export interface RoomRoster {
  /** The room. */
  room: Room;
  /** Number of members. */
  members: number;
  /** Number of members without the current key. */
  lacking: number;
  /** The members of this page, by endpoint. */
  items: RosterEntry[];
  /** Pass it as `after` to get the next page; null on the last page. */
  next: string | null;
}
