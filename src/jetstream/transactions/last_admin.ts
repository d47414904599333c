/**
 * Protects the last active admin: removing an admin's access also writes another active admin,
 * unchanged. Two admins who remove each other's access at the same time cannot both succeed.
 *
 * @module
 */

import type { User } from "../../core/model.ts";
import { isActiveAdmin, lastAdmin } from "../../core/rules.ts";
import {
  activeAdmin,
  type AdminIndex,
  adminWrites,
  entriesFor,
  findAdmins,
  readAdminIndex,
} from "../cache/admins.ts";
import { alive, BATCH_LIMIT, type Entry, type Write } from "../log/bucket.ts";
import type { Budget, Context } from "./context.ts";
import { userKey } from "../records/keys.ts";
import { encodeUser } from "../records/values.ts";
import { WrongRevision } from "../log/wire.ts";

/**
 * Returns, for an active admin, a write that succeeds only while another one is active.
 *
 * @throws {StoreError} last_admin: there is no other active admin
 */
export async function anotherAdmin(
  context: Context,
  user: User,
  budget: Budget,
): Promise<Write[]> {
  if (!isActiveAdmin(user)) return [];
  const known = await rememberedAdmin(context, user, budget);
  if (known !== null) return [known];
  // The leader may have been replaced: `last_admin` requires confirmation by a majority.
  const sequence = await context.fence(budget.deadline);
  for (;;) {
    const minimum = Math.max(sequence, context.floor);
    const index = await readAdminIndex(context.bucket, minimum, context.opTimeout);
    budget.renew();
    const other = await namedAdmin(context, user, index, minimum, budget);
    if (other !== null) return [other];
    // An admin without an entry was written by version 0.1, and there may be others.
    if (index.complete && index.names.has(user.signPub)) throw lastAdmin(user);
    await buildIndex(context, user, index, budget);
  }
}

/** Finds another active admin through the cache, and reads it at the leader. */
async function rememberedAdmin(
  { cache, bucket }: Context,
  user: User,
  { deadline }: Budget,
): Promise<Write | null> {
  for (const signPub of [...cache.admins() ?? []]) {
    if (signPub === user.signPub) continue;
    const unchanged = guarded(signPub, await bucket.get(userKey(signPub), deadline));
    if (unchanged !== null) return unchanged;
  }
  return null;
}

/** Finds another active admin through the index. */
async function namedAdmin(
  { bucket }: Context,
  user: User,
  { names }: AdminIndex,
  minimum: number,
  budget: Budget,
): Promise<Write | null> {
  const others = [...names].filter((it) => it !== user.signPub);
  for (let from = 0; from < others.length; from += BATCH_LIMIT) {
    const some = others.slice(from, from + BATCH_LIMIT);
    const found = await bucket.getMany(some.map(userKey), minimum, budget.deadline);
    budget.renew();
    for (const signPub of some) {
      const unchanged = guarded(signPub, found.get(userKey(signPub)) ?? null);
      if (unchanged !== null) return unchanged;
    }
  }
  return null;
}

function guarded(signPub: string, entry: Entry | null): Write | null {
  const live = alive(entry);
  const admin = live && activeAdmin(live.key, signPub, live.data);
  return admin && { key: live.key, value: encodeUser(admin), expect: live.revision };
}

/**
 * Writes an entry for each active admin, then the marker. Each entry requires that its user is
 * unchanged, and the marker that no other process has written it: after a lost race, everything is
 * read again.
 */
async function buildIndex(
  context: Context,
  user: User,
  { mark }: AdminIndex,
  budget: Budget,
): Promise<void> {
  const { bucket, opTimeout } = context;
  const admins = await findAdmins(bucket, opTimeout);
  budget.renew();
  if (!admins.has(user.signPub)) throw new WrongRevision(`${user.signPub} is no longer an admin`);
  const entries = entriesFor(admins);
  for (let from = 0; from < entries.length; from += BATCH_LIMIT) {
    const batch = entries.slice(from, from + BATCH_LIMIT);
    context.noteWritten(await bucket.commit(batch, budget.deadline, { alone: true }));
    budget.renew();
  }
  await context.commit([mark], budget.deadline);
}

/** Returns the writes of a changed user, including those to the index. */
export function userWrites(
  before: User | null,
  after: User | null,
  expect: number,
): Write[] {
  const key = userKey((before ?? after)!.signPub);
  return [{ key, value: after && encodeUser(after), expect }, ...adminWrites(before, after)];
}
