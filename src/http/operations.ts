/**
 * What routes ask of the control plane itself.
 *
 * @module
 */

import type { Page, PageRequest, User, UserRole, UserStatus } from "../core/model.ts";
import type { Changes, History, ServerStatus, Usage } from "../core/operations.ts";

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

/** Which users are wanted; what is left out does not matter. */
export interface UserFilter {
  /** Contained in the handle, in any case, or what the signing key begins with. */
  search?: string | undefined;
  /** Of this role. */
  role?: UserRole | undefined;
  /** Of this status. */
  status?: UserStatus | undefined;
}

/** What the routes of admins work with. */
export interface Operations {
  /** What was changed. */
  readonly changes: { poll(poll: Poll): Promise<Changes> };
  /** The users, to be searched. */
  readonly users: { search(filter: UserFilter, page: PageRequest): Promise<Page<User>> };
  /** The time. */
  now(): Date;
  /** The last hour. */
  history(): History;
  /** How the server does. */
  status(): Promise<ServerStatus>;
  /** How much is kept. */
  usage(): Promise<Usage>;
}
