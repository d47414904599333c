/**
 * What a control plane tells its admins of itself and of what is done in it: its nodes, its charts,
 * its log of changes.
 *
 * @module
 */

import type { HealthCheck, MemberRole, Room, UserRole, UserStatus } from "./model.ts";

/** One node of a cluster. */
export interface ClusterNode {
  /** Its name. */
  name: string;
  /** The version of its nats-server; null while it does not answer. */
  version: string | null;
  /** Whether it answers. */
  reachable: boolean;
  /** Whether it leads the cluster, which is not the same as leading a bucket. */
  leads: boolean;
  /** Whether it knows what the cluster's leader knows; null when nobody can tell. */
  current: boolean | null;
  /** Whether each write is on its disk before it is acknowledged; null while it does not answer. */
  syncs: boolean | null;
}

/** One copy of a bucket. */
export interface BucketCopy {
  /** The node it is on. */
  node: string;
  /** Whether it leads. */
  leads: boolean;
  /** Whether it has what the leader has. */
  current: boolean;
  /** Whether the leader hears from it. */
  reachable: boolean;
  /** How many operations it is behind. */
  lag: number;
}

/** A bucket and its copies. */
export interface BucketStatus {
  /** Its name. */
  bucket: string;
  /** What is in it. */
  holds: "control plane" | "blobs";
  /** How many copies there shall be; null when nobody can tell. */
  replicas: number | null;
  /** The node that leads it; null without one, and on a server that is in no cluster. */
  leader: string | null;
  /** Whether all copies are there and current. */
  whole: boolean;
  /** Its copies. */
  copies: BucketCopy[];
  /** Its messages; null when nobody can tell. */
  messages: number | null;
  /** The bytes they take; null when nobody can tell. */
  bytes: number | null;
}

/** A cluster. */
export interface ClusterStatus {
  /** Its name; null for a server that is in none, and without the key of the system account. */
  cluster: string | null;
  /** Whether nothing is wrong. */
  healthy: boolean;
  /** Whether enough nodes are there; null without the key of the system account. */
  quorum: { ok: boolean; size: number; reachable: number; needed: number } | null;
  /** The nodes; without the key of the system account those that have copies. */
  nodes: ClusterNode[];
  /** The buckets. */
  buckets: BucketStatus[];
  /** What is wrong, each with what to do. */
  problems: string[];
}

/** The server that answers, and what it rests on. */
export interface ServerStatus {
  /** Its version. */
  version: string;
  /** Whether signatures are demanded. */
  busAuth: "off" | "soft" | "enforce";
  /** When it was started. */
  startedAt: string;
  /** The store's backend: `sqlite` or `jetstream`. */
  backend: string;
  /** Whether every check is. */
  ok: boolean;
  /** What was looked at to tell whether requests are welcome. */
  checks: HealthCheck[];
  /** The nodes and buckets; null where nothing is kept in NATS. */
  cluster: ClusterStatus | null;
}

/** What is kept besides the control plane's records. */
export interface Usage {
  /** The blobs as they were counted `at`; null where none are kept. */
  blobs: { count: number; bytes: number; at: string } | null;
}

/** What a change was about; only what applies is there. */
export interface ChangeSubject {
  /** Signing key of the user or member. */
  user?: string;
  /** Its name to show, where it is known. */
  handle?: string;
  /** The role given. */
  role?: UserRole;
  /** The invite's id. */
  invite?: string;
  /** The room's id. */
  room?: string;
  /** The epoch of the room's key. */
  epoch?: number;
}

/** Something that was done to the control plane, or tried. */
export interface Change {
  /** Its number: a later one is greater. */
  n: number;
  /** When. */
  at: string;
  /** What kind of record. */
  kind: "users" | "invites" | "rooms" | "elsewhere";
  /**
   * What was done: the id of the route, such as `revokeUser`; `elsewhere` for a change that did not
   * come through this process, of which only whom it may concern is known.
   */
  action: string;
  /** Who did it; null for what was done elsewhere. */
  by: {
    /** The key that signed; null where nobody signs. */
    signPub: string | null;
    /** Its user's name to show. */
    handle: string | null;
    /** Whether the key was proved by a signature. */
    proved: boolean;
  } | null;
  /** What it was about; empty for anything. */
  about: ChangeSubject;
  /** `done`, or the code of the error. */
  outcome: string;
  /** How many alike this stands for. */
  count: number;
}

/** Changes, newest first. */
export interface Changes {
  /** The changes. */
  items: Change[];
  /** Pass it as `after` to hear of later ones. */
  next: string;
  /** Whether these do not join on to what was asked for: begin anew with them. */
  reset: boolean;
}

/** What happened in a stretch of time. */
export interface HistoryBucket {
  /** When it began. */
  at: string;
  /** Requests answered; those that wait for changes are not counted. */
  requests: number;
  /** Refused signatures and rights; under `soft` those that `enforce` would have refused. */
  denied: number;
  /** Answers of 5xx. */
  failed: number;
  /** Milliseconds within which half of the answers were ready; null without requests. */
  p50: number | null;
  /** The same of 95 in 100. */
  p95: number | null;
  /** The same of 99 in 100. */
  p99: number | null;
}

/** The last hour, oldest first. */
export interface History {
  /** How long a stretch is. */
  seconds: number;
  /** The server's clock. */
  now: string;
  /** The stretches in which the process ran; the last one is still under way. */
  buckets: HistoryBucket[];
}

/** A member of a room as admins see it: never with its keys. */
export interface RosterEntry {
  /** Its signing key. */
  endpoint: string;
  /** `owner` or `member`. */
  role: MemberRole;
  /** When it was added. */
  joinedAt: string;
  /** Its user's name to show; null when it is no user. */
  handle: string | null;
  /** Whether its user may connect; null when it is no user. */
  status: UserStatus | null;
  /** Whether there is a sealed key of the room's current epoch for it; null in a cleartext room. */
  hasKey: boolean | null;
}

/** A room and who is in it, a page at a time. */
export interface RoomRoster {
  /** The room. */
  room: Room;
  /** How many members it has. */
  members: number;
  /** How many of them lack the current key. */
  lacking: number;
  /** The members of this page, by endpoint. */
  items: RosterEntry[];
  /** Pass it as `after` to get the next page; null at the end. */
  next: string | null;
}
