/**
 * The rule that the last active admin stays: whoever takes an admin's access writes another active admin
 * along, unchanged. Two admins who take each other's access at once cannot both succeed.
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

/** For an active admin: a write that holds only while another one is active. `last_admin` if there is none. */
export async function anotherAdmin(
  context: Context,
  user: User,
  budget: Budget,
): Promise<Write[]> {
  if (!isActiveAdmin(user)) return [];
  const known = await rememberedAdmin(context, user, budget);
  if (known !== null) return [known];
  // Who leads may have been replaced: nobody is the last without the word of a majority.
  const sequence = await context.fence(budget.deadline);
  for (;;) {
    const minimum = Math.max(sequence, context.floor);
    const index = await readAdminIndex(context.bucket, minimum, context.opTimeout);
    budget.renew();
    const other = await namedAdmin(context, user, index, minimum, budget);
    if (other !== null) return [other];
    // An admin without an entry was made by version 0.1, and may not be the only one.
    if (index.complete && index.names.has(user.signPub)) throw lastAdmin(user);
    await buildIndex(context, user, index, budget);
  }
}

/** Another active admin of whom the cache knows, as the leader has it now. */
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

/** Another active admin among those that the index names. */
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
 * Writes an entry for each active admin, and then the mark. Each entry demands that its user is as it was
 * read, and the mark that nobody else has written it: a lost race, and all is read again.
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
  if (!admins.has(user.signPub)) throw new WrongRevision(`${user.signPub} is no admin any more`);
  const entries = entriesFor(admins);
  for (let from = 0; from < entries.length; from += BATCH_LIMIT) {
    const batch = entries.slice(from, from + BATCH_LIMIT);
    context.noteWritten(await bucket.commit(batch, budget.deadline, { alone: true }));
    budget.renew();
  }
  await context.commit([mark], budget.deadline);
}

/** A change of a user with what it writes to the index. */
export function userWrites(
  before: User | null,
  after: User | null,
  expect: number,
): Write[] {
  const key = userKey((before ?? after)!.signPub);
  return [{ key, value: after && encodeUser(after), expect }, ...adminWrites(before, after)];
}
