/**
 * Transactions of users and invites. Each changes one message, except redeeming an invite (invite
 * and user), making a user an active admin (also the index of admins) and removing an admin's
 * access (last_admin.ts).
 *
 * @module
 */

import { type Author, did } from "../../core/history/entry.ts";
import type { Invite, User, UserRole, UserStatus } from "../../core/model.ts";
import {
  cancelProblem,
  inviteExists,
  inviteProblem,
  notFound,
  userExists,
  waitAfterClaim,
} from "../../core/rules.ts";
import { alive, type Entry, revisionOf, type Write } from "../log/bucket.ts";
import type { Budget, Change, Context } from "./context.ts";
import { anotherAdmin, userWrites } from "./last_admin.ts";
import type { Reads } from "../log/fence.ts";
import { inviteKey, memberKey, roomKey, userKey } from "../records/keys.ts";
import { decodeInvite, decodeUser, encodeInvite } from "../records/values.ts";
import { WrongRevision } from "../log/wire.ts";
import { visibleRoom } from "./reads.ts";

/** Operations of users. */
export class UserTransactions {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  async get(signPub: string): Promise<User | null> {
    return decode(signPub, await this.#context.readOne(userKey(signPub)));
  }

  add(user: User, author: Author): Promise<void> {
    const key = userKey(user.signPub);
    let expect = 0;
    return this.#context.transact(`Add user ${user.signPub}`, key, async (deadline, reads) => {
      try {
        const change = { author, draft: did.userAdded(user) };
        await this.#context.commit(userWrites(null, user, expect), deadline, change);
      } catch (error) {
        if (!(error instanceof WrongRevision)) throw error;
        reads.noteLost(error);
        // If it was deleted earlier, the expected revision is that of its delete marker.
        const entry = await reads.get(key, deadline);
        if (alive(entry) !== null) throw userExists(user.signPub);
        expect = revisionOf(entry);
        throw error;
      }
    });
  }

  setStatus(
    signPub: string,
    status: UserStatus,
    at: string,
    force: boolean,
    author: Author,
  ): Promise<User> {
    const revokedAt = status === "revoked" ? at : null;
    return this.#set(
      `Set status of user ${signPub}`,
      signPub,
      (user) => user.status === status ? null : { ...user, status, revokedAt },
      force,
      author,
    );
  }

  setRole(signPub: string, role: UserRole, force: boolean, author: Author): Promise<User> {
    return this.#set(
      `Set role of user ${signPub}`,
      signPub,
      (user) => user.role === role ? null : { ...user, role },
      force,
      author,
    );
  }

  /** @param next Returns the changed user; `null` if nothing changes */
  #set(
    what: string,
    signPub: string,
    next: (user: User) => User | null,
    force: boolean,
    author: Author,
  ): Promise<User> {
    return this.#change(what, signPub, async ({ user, revision }, reads, budget) => {
      const changed = next(user);
      if (changed === null) {
        await this.#context.confirm(reads, budget.deadline);
        return user;
      }
      const change = { author, draft: did.userChanged(user, changed) };
      await this.#write(user, changed, revision, force, budget, change);
      return changed;
    });
  }

  delete(signPub: string, force: boolean, author: Author): Promise<void> {
    const what = `Delete user ${signPub}`;
    return this.#change(what, signPub, ({ user, revision }, _, budget) => {
      const change = { author, draft: did.userDeleted(user) };
      return this.#write(user, null, revision, force, budget, change);
    });
  }

  #change<T>(
    what: string,
    signPub: string,
    decide: (at: { user: User; revision: number }, reads: Reads, budget: Budget) => Promise<T>,
  ): Promise<T> {
    return this.#context.transact(what, "users", async (deadline, reads, budget) => {
      const entry = await reads.get(userKey(signPub), deadline);
      const user = decode(signPub, entry);
      if (user === null) throw notFound("user", signPub);
      return await decide({ user, revision: revisionOf(entry) }, reads, budget);
    });
  }

  async #write(
    user: User,
    next: User | null,
    revision: number,
    force: boolean,
    budget: Budget,
    change: Change,
  ): Promise<void> {
    const guard = force ? [] : await anotherAdmin(this.#context, user, budget);
    const writes = [...userWrites(user, next, revision), ...guard];
    await this.#context.commit(writes, budget.deadline, change);
  }
}

/** Operations of invites. */
export class InviteTransactions {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  create(invite: Invite, author: Author): Promise<void> {
    const key = inviteKey(invite.id);
    const change = { author, draft: did.inviteCreated(invite) };
    const { room } = invite;
    return this.#context.transact(`Create invite ${invite.id}`, key, async (deadline, reads) => {
      if (room !== undefined) {
        const found = alive(await reads.get(roomKey(room), deadline));
        if (visibleRoom(room, found) === null) throw notFound("room", room);
      }
      try {
        const write = { key, value: encodeInvite(invite), expect: 0 };
        await this.#context.commit([write], deadline, change);
      } catch (error) {
        if (!(error instanceof WrongRevision)) throw error;
        reads.noteLost(error);
        // An id is random: it is not used again, also where its invite was removed.
        await reads.get(key, deadline);
        throw inviteExists(invite.id, error);
      }
    });
  }

  async get(id: string): Promise<Invite | null> {
    const entry = await this.#context.readOne(inviteKey(id));
    return entry && decodeInvite(entry.key, id, entry.data);
  }

  consume(id: string, user: User, author: Author): Promise<User> {
    return this.#change(`Claim invite ${id}`, id, async (invite, expect, deadline, reads) => {
      const problem = inviteProblem(invite, user.createdAt);
      if (problem !== null) throw problem;
      const waiting = await this.#waiting(invite, user.signPub, deadline, reads);
      const claimed: User = { ...user, role: invite.role, ...waiting };
      const used: Write = {
        key: inviteKey(id),
        value: encodeInvite({ ...invite, usedAt: user.createdAt, usedBy: user.signPub }),
        expect,
      };
      const key = userKey(user.signPub);
      const there = await reads.get(key, deadline);
      const registered = decode(user.signPub, there);
      if (registered !== null) {
        // The user is written too, also unchanged: if it is deleted meanwhile, the invite is not spent.
        const next = userWrites(registered, { ...registered, ...waiting }, there!.revision);
        const spent = { author, draft: did.inviteClaimed(invite, user, false) };
        await this.#context.commit([used, ...next], deadline, spent);
        reads.forget();
        throw userExists(user.signPub);
      }
      const writes = [used, ...userWrites(null, claimed, revisionOf(there))];
      const change = { author, draft: did.inviteClaimed(invite, claimed, true) };
      await this.#context.commit(writes, deadline, change);
      return claimed;
    });
  }

  /** Returns what the claim of an invite sets in the user's record. */
  async #waiting(
    invite: Invite,
    signPub: string,
    deadline: number,
    reads: Reads,
  ): Promise<ReturnType<typeof waitAfterClaim>> {
    const { room: id } = invite;
    if (id === undefined) return {};
    const [room, member] = await Promise.all([
      reads.get(roomKey(id), deadline),
      reads.get(memberKey(id, signPub), deadline),
    ]);
    return waitAfterClaim(invite, visibleRoom(id, alive(room)), alive(member) !== null);
  }

  cancel(id: string, at: string, author: Author): Promise<Invite> {
    return this.#change(`Cancel invite ${id}`, id, async (invite, expect, deadline, reads) => {
      const problem = cancelProblem(invite);
      if (problem !== null) throw problem;
      if (invite.canceledAt !== null) {
        await this.#context.confirm(reads, deadline);
        return invite;
      }
      const next: Invite = { ...invite, canceledAt: at };
      const key = inviteKey(id);
      const write = { key, value: encodeInvite(next), expect };
      await this.#context.commit([write], deadline, { author, draft: did.inviteCanceled(id) });
      return next;
    });
  }

  #change<T>(
    what: string,
    id: string,
    decide: (invite: Invite, expect: number, deadline: number, reads: Reads) => Promise<T>,
  ): Promise<T> {
    const key = inviteKey(id);
    return this.#context.transact(what, key, async (deadline, reads) => {
      const entry = await reads.get(key, deadline);
      if (entry === null || alive(entry) === null) throw notFound("invite", id);
      return await decide(decodeInvite(key, id, entry.data), entry.revision, deadline, reads);
    });
  }
}

function decode(signPub: string, entry: Entry | null): User | null {
  const live = alive(entry);
  return live && decodeUser(live.key, signPub, live.data);
}
