/**
 * The methods of a store for its history.
 *
 * @module
 */

import type { Page } from "../model.ts";
import type { HistoryAction, HistoryEntry } from "./entry.ts";

/** Which entries {@link HistoryMethods.history} returns. */
export interface HistoryQuery {
  /** Only entries after this revision. The `next` of a page that is not `newest`. */
  after?: string | null;
  /** Only entries before this revision. The `next` of a page that is `newest`. */
  before?: string | null;
  /** The newest first. Default `false`. */
  newest?: boolean;
  /** Only entries about this user or member. */
  user?: string;
  /** Only entries about this room. */
  room?: string;
  /** Only entries about this invite. */
  invite?: string;
  /** Only entries of this author. */
  by?: string;
  /** Only entries of this action. */
  action?: HistoryAction;
  /** Only entries made at this time or later: ISO 8601, UTC with milliseconds. */
  since?: string;
  /** Entries per page, 1 to 1,000. Default 100. */
  limit?: number;
}

/** Which entries {@link HistoryMethods.pruneHistory} removes: one or both, or all. */
export interface HistoryPruning {
  /** Those made before this time: ISO 8601, UTC with milliseconds. */
  before?: string;
  /** All but the newest so many. */
  keep?: number;
  /**
   * All of them, also what is damaged or missing: a new history begins. For one that cannot be repaired.
   */
  all?: true;
}

/** The methods of a store for its history. */
export interface HistoryMethods {
  /**
   * Lists changes in their order, or the newest first.
   *
   * @throws {StoreError} `too_old`: entries after `after` have been pruned; `unsupported`: no history is
   * kept
   */
  history(query?: HistoryQuery): Promise<Page<HistoryEntry>>;
  /**
   * Iterates over changes as they are made, by whatever process or node: every change once, in order. To
   * continue later, pass the revision of the last entry as `after`. `null` begins with the oldest entry;
   * by default only changes from now on are returned. Ends when `signal` is aborted.
   *
   * @throws {StoreError} `too_old`: entries after `after` have been pruned; `unsupported`: no history is
   * kept
   */
  follow(
    options?: { after?: string | null; signal?: AbortSignal },
  ): AsyncIterable<HistoryEntry>;
  /**
   * Resolves when what this store reads includes everything up to a revision, for example one that a user
   * was given by another node.
   *
   * @throws {StoreError} `unavailable`: it does not after some seconds
   */
  reach(revision: string, options?: { signal?: AbortSignal }): Promise<void>;
  /**
   * Removes the oldest entries of the history and adds one that says so.
   *
   * @returns The number of entries removed
   * @throws {StoreError} `unsupported`: no history is kept
   */
  pruneHistory(which: HistoryPruning): Promise<number>;
}
