/**
 * The index of active admins: an entry `admins.<signPub>` per active admin, written in the same
 * transaction as any change that makes a user an active admin or ends that.
 *
 * The index only says where to look: an entry is confirmed by reading its user. A bucket written by
 * version 0.1 has no index, and a program of version 0.1 that writes to the bucket does not update
 * it. Only the marker `meta.admins` says that the index is complete. The marker names the move or
 * import that the bucket came from: a later one by version 0.1 brings users without entries and
 * makes the marker invalid.
 *
 * @module
 */

import type { User } from "../../core/model.ts";
import { isActiveAdmin } from "../../core/rules.ts";
import { alive, type Bucket, type Entry, revisionOf, TooMany, type Write } from "../log/bucket.ts";
import { scan } from "../log/feed.ts";
import { type Marker, takenOver } from "../log/marker.ts";
import { adminKey, ADMINS_KEY, MARKER_KEY, parseKey, userKey } from "../records/keys.ts";
import { decodeUser, encodeAdmin, parseValue, readable, VALUE_VERSION } from "../records/values.ts";
import { WrongRevision } from "../log/wire.ts";

/** The contents of the index. */
export interface AdminIndex {
  /** The users in the index. */
  names: ReadonlySet<string>;
  /** Whether it contains all active admins. */
  complete: boolean;
  /** The marker to write when it has been built. */
  mark: Write;
}

/** Returns the user if it is an active admin; an unreadable record is not an admin. */
export function activeAdmin(key: string, signPub: string, data: Uint8Array): User | null {
  const user = readable(() => decodeUser(key, signPub, data));
  return user !== null && isActiveAdmin(user) ? user : null;
}

/** Returns the writes to the index for a change of a user. */
export function adminWrites(before: User | null, after: User | null): Write[] {
  const was = before !== null && isActiveAdmin(before);
  const is = after !== null && isActiveAdmin(after);
  if (was === is) return [];
  const key = adminKey((before ?? after)!.signPub);
  return [{ key, value: is ? encodeAdmin() : null }];
}

/**
 * Encodes the marker for a bucket whose last move or import started at this time, or `null` for
 * none.
 */
function markWrite(startedAt: string | null): Write {
  return { key: ADMINS_KEY, value: JSON.stringify({ v: VALUE_VERSION, startedAt }) };
}

/**
 * Writes the marker of a bucket that a move or an import has claimed and fills before it is opened.
 *
 * @param guard The claim, see `guardOf`
 * @returns The sequence of the marker
 */
export async function markFilled(
  bucket: Bucket,
  { startedAt }: Marker,
  guard: NonNullable<Write["guard"]>,
  deadline: number,
): Promise<number> {
  try {
    return await bucket.commit([{ ...markWrite(startedAt), guard }], deadline, { alone: true });
  } catch (error) {
    throw error instanceof WrongRevision ? takenOver(error) : error;
  }
}

/**
 * Reads the index as of `minimum` or later.
 *
 * @param patience Time limit without progress in milliseconds
 */
export async function readAdminIndex(
  bucket: Bucket,
  minimum: number,
  patience: number,
): Promise<AdminIndex> {
  const notes = [ADMINS_KEY, MARKER_KEY];
  const deadline = Date.now() + patience;
  let found: Map<string, Entry>;
  try {
    found = await bucket.getLast([...notes, "admins.*"], minimum, deadline);
  } catch (error) {
    if (!(error instanceof TooMany)) throw error;
    found = await bucket.getLast(notes, minimum, deadline);
    const onEntry = (entry: Entry) => void found.set(entry.key, entry);
    await scan(bucket, { pattern: "admins.*", patience, onEntry });
  }
  const names = new Set<string>();
  for (const { key, data } of found.values()) {
    const parsed = parseKey(key);
    if (parsed?.space === "admins" && data.length > 0) names.add(parsed.signPub);
  }
  const mark = found.get(ADMINS_KEY) ?? null;
  const startedAt = noteOf(found.get(MARKER_KEY));
  return {
    names,
    complete: alive(mark) !== null && noteOf(mark) === startedAt,
    mark: { ...markWrite(startedAt), expect: revisionOf(mark) },
  };
}

/** Returns the start time of the move or import that a marker names. */
function noteOf(entry: Entry | null | undefined): string | null {
  const live = entry ? alive(entry) : null;
  return live && (parseValue(live.key, live.data).startedAt ?? null);
}

/**
 * Finds active admins and the revisions of their records, at most `enough`; reads all users if
 * there are fewer.
 */
export async function findAdmins(
  bucket: Bucket,
  patience: number,
  enough = Infinity,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  await scan(bucket, {
    pattern: "users.*",
    patience,
    onEntry: ({ key, data, revision }) => {
      const parsed = parseKey(key);
      if (parsed?.space !== "users") return;
      const { signPub } = parsed;
      if (data.length > 0 && activeAdmin(key, signPub, data) !== null) found.set(signPub, revision);
      else found.delete(signPub);
      if (found.size >= enough) return false;
    },
  });
  return found;
}

/** Returns index entries for admins, each on the condition that the user has not changed. */
export function entriesFor(admins: ReadonlyMap<string, number>): Write[] {
  return [...admins].map(([signPub, revision]): Write => ({
    key: adminKey(signPub),
    value: encodeAdmin(),
    guard: { key: userKey(signPub), revision },
  }));
}
