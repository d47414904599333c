/**
 * Whether a stream is still the one that a file follows, at a glance: looked at when the follower
 * starts, and whenever its connection was lost.
 *
 * @module
 */

import { isStoreError, type StoreError } from "../../core/errors.ts";
import { type Bucket, MARKER_TTL_SECONDS } from "../../jetstream/log/bucket.ts";
import { streamInfo } from "../../jetstream/log/stream.ts";
import { FENCE_KEY } from "../../jetstream/records/keys.ts";
import { alarm, type AlarmKind } from "./alarms.ts";
import { hashOf } from "../file/changes.ts";
import type { Thread } from "../file/thread.ts";
import { auditStream } from "./audit.ts";
import { fenceValue } from "./digests.ts";
import type { Held } from "../file/messages.ts";

/** How many of the newest keys are compared. */
const NEWEST = 64;

/** How long reading them may take, milliseconds. */
const PATIENCE = 3000;

/** How long a follower may have been away, milliseconds: delete markers are there for twice as long. */
const LONGEST_AWAY = MARKER_TTL_SECONDS * 500;

/** Whether delete markers may have come and gone since the file was written. */
export function wasAwayTooLong({ updatedAt }: Held): boolean {
  const away = Date.now() - updatedAt;
  return away > LONGEST_AWAY || away < 0;
}

/**
 * Whether a stream that was created again holds all that the file holds, at the same sequences: it was
 * moved to other servers, as `cluster import` does.
 */
export async function isRestored(bucket: Bucket, thread: Thread, held: Held): Promise<boolean> {
  if (!held.exact) return false;
  const info = await streamInfo(bucket, Date.now() + PATIENCE);
  if (info === null || info.state.last_seq < held.position) return false;
  return await auditStream({ bucket, thread, held }) === null;
}

/**
 * Compares stream and file: the identity of the stream, where it ends, and the newest keys.
 *
 * @param known The last sequence that was read or acknowledged
 * @returns The alarm, `null` when nothing was found
 */
export async function compareStream(
  bucket: Bucket,
  thread: Thread,
  held: Held,
  deadline: number,
  known = 0,
): Promise<StoreError | null> {
  const found = (kind: AlarmKind, text: string) => alarm(kind, bucket.name, text);
  const info = await streamInfo(bucket, deadline);
  if (info === null) return found("stream", "the bucket was deleted");
  if (info.created !== held.created) {
    return found(
      "stream",
      `the bucket was deleted and created again: its stream was created ${info.created}, ` +
        `the one followed ${held.created}`,
    );
  }
  const { last_seq: last } = info.state;
  const end = Math.max(held.position, known);
  if (last < end && await endsBefore(bucket, end, deadline)) {
    const before = last < held.position
      ? `position ${held.position} of the follower`
      : `${known}, which was read or acknowledged`;
    return found("end", `the stream ends at sequence ${last}, before ${before}`);
  }
  const newest = await thread.ask("newest", NEWEST);
  if (newest.length === 0) return null;
  // The file may have been applied to since `held` was read: a replica that lags must know these too.
  const minimum = newest.reduce(
    (most, { revision }) => Math.max(most, revision),
    Math.max(last, end),
  );
  const now = await lastOf(bucket, newest.map(({ key }) => key), minimum);
  if (now === null) return null;
  for (const { key, revision, hash } of newest) {
    const entry = now.get(key);
    if (entry === undefined) {
      // Deleted since, and the marker has expired; or lost.
      if (wasAwayTooLong(held)) continue;
      return found("sequence", `key ${key} is gone, the stream held it at sequence ${revision}`);
    }
    // Written since; or missed before, by a file that was not exact.
    if (entry.revision > (held.exact ? Math.max(held.position, revision) : revision)) continue;
    const it = hashOf(entry);
    if (entry.revision !== revision || !hash.every((byte, i) => byte === it[i])) {
      return found(
        "sequence",
        `key ${key} is another message at sequence ${entry.revision} than the follower ` +
          `has at ${revision}`,
      );
    }
  }
  return null;
}

/**
 * Whether a stream that seems to end before a sequence does. A leader that was just elected may not have
 * applied all that was committed; a write comes after that.
 */
async function endsBefore(bucket: Bucket, end: number, deadline: number): Promise<boolean> {
  return !bucket.isClustered || await bucket.put(FENCE_KEY, fenceValue(null), deadline) <= end;
}

/** Reads the last messages of keys; `null` where the server knows of one that it cannot read: an audit tells more. */
async function lastOf(bucket: Bucket, keys: string[], minimum: number) {
  try {
    return await bucket.getLast(keys, minimum, Date.now() + PATIENCE);
  } catch (error) {
    if (isStoreError(error, "unavailable")) return null;
    throw error;
  }
}
