/**
 * What a follower is asked for and answers.
 *
 * @module
 */

import type { StoreError } from "../core/errors.ts";
import type { JetStreamOptions } from "../jetstream/mod.ts";

/** Options of {@link followStore}. */
export interface FollowOptions {
  /** Where the bucket is; it must exist. */
  nats: JetStreamOptions;
  /** The follower's file; created if it does not exist. Not the file of a primary. */
  db: string;
  /** Discard what the file holds, with its alarm, and take the stream as it is. Default `false`. */
  accept?: boolean;
  /** Aborts opening. */
  signal?: AbortSignal;
  /** Called when the stream is found to have lost or changed something; `corrupt`. */
  onAlarm?: (alarm: StoreError) => void;
  /** Called with what is wrong although the stream is what it was, and with `null` when that is over. */
  onDegraded?: (degraded: StoreError | null) => void;
}

/** How far the history in a follower's file has come. */
export interface FollowedHistory {
  /** Revision of the newest entry in it; `null` for none. */
  revision: string | null;
  /** Entries of the stream that are not in it yet; above 1,000 not counted further. */
  lag: number;
  /** What is missing in it, or why it does not continue; `null` for nothing. */
  problem: string | null;
}

/** Where a follower stands. */
export interface FollowerState {
  /** `apply` if this follower writes the file, `read` if another process does. */
  role: "apply" | "read";
  /** The bucket. */
  bucket: string;
  /** Sequence of the stream up to which the file has everything that it has; 0 before the first load. */
  position: number;
  /** Whether the file holds the latest message up to `position` of every key. */
  exact: boolean;
  /** Sum of the hashes of all live keys, in hex: equal in exact followers of one position. */
  digest: string;
  /** Live keys that hold data; a member has two. */
  entries: number;
  /** Live keys whose value is not a valid record. */
  quarantined: number;
  /** Messages between `position` and the end of the stream when that was last known; `null` before. */
  lag: number | null;
  /** When the file was last written, ISO 8601; `null` before the first load. */
  updatedAt: string | null;
  /** The history in the file; `null` if the bucket keeps none, or before it is known. */
  history: FollowedHistory | null;
  /** Why the stream is not what it was; `null` for no such reason. */
  alarm: StoreError | null;
  /**
   * What is wrong although the stream is what it was: its `field` is `invalid` for records that are not
   * valid, `file` for a damaged file, with which following has ended. `null` for nothing.
   */
  degraded: StoreError | null;
  /** Why applying has stopped, such as a full disk. It is tried again. `null` while it works. */
  failure: StoreError | null;
}

/** A SQLite file that is kept current with a bucket. Close it when done. */
export interface Follower extends AsyncDisposable {
  /** The file. */
  readonly path: string;
  /** Returns where the follower stands. */
  state(): FollowerState;
  /** Why the stream is not what it was; `null` for no such reason. */
  readonly alarm: StoreError | null;
  /**
   * Waits until the file is exact at a position, or later.
   *
   * @param position The position. Default: the end of the stream now
   * @returns The state then
   * @throws {StoreError} `corrupt`: the stream is not what it was, or the file is damaged; `closed`; `aborted`; `unavailable`
   */
  whenExact(position?: number, options?: { signal?: AbortSignal }): Promise<FollowerState>;
  /** Stops following and closes the file. */
  close(): Promise<void>;
}
