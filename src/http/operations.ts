/**
 * What routes ask of the control plane itself.
 *
 * @module
 */

import type {
  Changes,
  ControlPlaneNodes,
  History,
  PlaneCounts,
  ServerStatus,
  Usage,
  UserActivity,
} from "../core/operations.ts";
import type { User } from "../core/model.ts";
import type { HistoryQuery } from "../core/store.ts";
import type { Search } from "../core/store/search.ts";

/** A request that may wait for changes. */
export interface Poll {
  /** Signing key of the caller. */
  endpoint: string | null;
  /** Maximum time to wait for the first change, milliseconds. */
  wait: number;
  /** Whether the client has gone. */
  isGone(): boolean;
  /** Throws if the caller no longer has permission. */
  demand(): Promise<void>;
}

/** What the routes of admins work with. */
export interface Operations {
  /** The history. */
  readonly changes: { read(query: HistoryQuery, poll: Poll): Promise<Changes> };
  /** Finds users and rooms. */
  readonly search: Search;
  /** The time. */
  now(): Date;
  /** The last hour. */
  history(): History;
  /** Which nodes there are. */
  nodes(): ControlPlaneNodes;
  /** The version of that list; `null` if there is no other node to learn of. */
  nodesVersion(): string | null;
  /** How the server does. */
  status(): Promise<ServerStatus>;
  /** How many users, rooms, invites, connections and changes there are. */
  counts(): Promise<PlaneCounts>;
  /** What is known of a user's activity. */
  activity(signPub: string): UserActivity;
  /** Returns those of some users of whom nothing is known since a time. */
  unseen(users: readonly User[], since: string): User[];
  /** Notes a request of a user. */
  seen(signPub: string): void;
  /** How much is kept. */
  usage(): Promise<Usage>;
}
