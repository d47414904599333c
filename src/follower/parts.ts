/**
 * What the follower of a file is made of.
 *
 * @module
 */

import type { StoreError } from "../core/errors.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import type { Thread } from "./file/thread.ts";

/** What a follower is made of. */
export interface Parts {
  /** The bucket. */
  bucket: Bucket;
  /** The file. */
  path: string;
  /** The file, open. */
  thread: Thread;
  /** Discard what the file holds. */
  accept: boolean;
  /** Whether a store waits that must not answer before the stream was compared. */
  guards: boolean;
  /** Told when the stream of a lone server is in doubt, and when it no longer is. */
  onDoubt?: (inDoubt: boolean) => void;
  /** Told of an alarm. */
  onAlarm: (alarm: StoreError) => void;
  /** Told what is wrong although the stream is what it was, and `null` when that is over. */
  onDegraded: (degraded: StoreError | null) => void;
  /** Told that the file was let go of after an alarm, or damage, and whether that is kept in it. */
  onReleased?: (isKept: boolean) => void;
  /** What to do last. */
  end: () => Promise<void>;
}
