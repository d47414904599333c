/**
 * What routes ask of the control plane itself.
 *
 * @module
 */

import type {
  Changes,
  ControlPlaneNodes,
  History,
  ServerStatus,
  Usage,
} from "../core/operations.ts";
import type { Search } from "../core/store/search.ts";

/** A request that waits for changes. */
export interface Poll {
  /** Signing key of the caller. */
  endpoint: string | null;
  /** The `next` of the answer before. */
  after?: string | undefined;
  /** Most changes. */
  limit: number;
  /** Most milliseconds to wait for the first. */
  wait: number;
  /** Whether the client has gone. */
  isGone(): boolean;
  /** Throws if the caller no longer has permission. */
  demand(): Promise<void>;
}

/** What the routes of admins work with. */
export interface Operations {
  /** What was changed. */
  readonly changes: { poll(poll: Poll): Promise<Changes> };
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
  /** How much is kept. */
  usage(): Promise<Usage>;
}
