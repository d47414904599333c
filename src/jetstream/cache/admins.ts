/**
 * The index of active admins: `admins.<signPub>` beside the user it is of, written in one transaction
 * with whatever makes a user an active admin or no longer one.
 *
 * It says where to look and proves nothing: whoever relies on an entry reads the user it names. A bucket
 * that version 0.1 wrote has none, and a program of 0.1 that writes to the same bucket leaves it behind.
 * So only a mark (`meta.admins`) says that the index names all admins. The mark tells of which move or
 * import the bucket is from: one by version 0.1 brings users without entries, and ends what the mark says.
 *
 * @module
 */

import { isStoreError } from "../../core/errors.ts";
import type { User } from "../../core/model.ts";
import { isActiveAdmin } from "../../core/rules.ts";
import { alive, type Bucket, type Entry, revisionOf, TooMany, type Write } from "../log/bucket.ts";
import { scan } from "../log/feed.ts";
import { type Marker, takenOver } from "../log/marker.ts";
import { adminKey, ADMINS_KEY, MARKER_KEY, parseKey, userKey } from "../records/keys.ts";
import { decodeUser, encodeAdmin, parseValue, VALUE_VERSION } from "../records/values.ts";
import { WrongRevision } from "../log/wire.ts";

/** What the index says. */
export interface AdminIndex {
  /** The users it names. */
  names: ReadonlySet<string>;
  /** Whether there were no other active admins when it was built. */
  complete: boolean;
  /** The mark to be written when it has been built. */
  mark: Write;
}

/** The user, where it is an active admin; nobody is one by a record that cannot be read. */
export function activeAdmin(key: string, signPub: string, data: Uint8Array): User | null {
  try {
    const user = decodeUser(key, signPub, data);
    return isActiveAdmin(user) ? user : null;
  } catch (error) {
    if (!isStoreError(error, "corrupt")) throw error;
    return null;
  }
}

/** What a change of a user writes to the index. */
export function adminWrites(before: User | null, after: User | null): Write[] {
  const was = before !== null && isActiveAdmin(before);
  const is = after !== null && isActiveAdmin(after);
  if (was === is) return [];
  const key = adminKey((before ?? after)!.signPub);
  return [{ key, value: is ? encodeAdmin() : null }];
}

/** The mark for a bucket whose last move or import began at this time, `null` for none. */
function markWrite(startedAt: string | null): Write {
  return { key: ADMINS_KEY, value: JSON.stringify({ v: VALUE_VERSION, startedAt }) };
}

/**
 * Marks the index of a bucket that a move or an import has claimed, and fills before anybody opens it.
 *
 * @param guard The claim, see `guardOf`
 * @returns The sequence of the mark
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
 * @param patience How long a reading of many may go without progress, milliseconds
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

/** When the move or import began that a mark tells of. */
function noteOf(entry: Entry | null | undefined): string | null {
  const live = entry ? alive(entry) : null;
  return live && (parseValue(live.key, live.data).startedAt ?? null);
}

/** Active admins and the revisions of their records, `enough` of them at most; reads all users when there are not so many. */
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

/** Entries for admins, each on the condition that the user is as it was read. */
export function entriesFor(admins: ReadonlyMap<string, number>): Write[] {
  return [...admins].map(([signPub, revision]): Write => ({
    key: adminKey(signPub),
    value: encodeAdmin(),
    guard: { key: userKey(signPub), revision },
  }));
}
