/**
 * Transactions of users and invites. Each changes one message, except redeeming an invite (invite
 * and user), making a user an active admin (also the index of admins) and removing an admin's
 * access (last_admin.ts).
 *
 * @module
 */

import type { Invite, User, UserRole, UserStatus } from "../../core/model.ts";
import {
  cancelProblem,
  inviteExists,
  inviteProblem,
  notFound,
  userExists,
} from "../../core/rules.ts";
import { alive, type Entry, revisionOf, type Write } from "../log/bucket.ts";
import type { Budget, Context } from "./context.ts";
import { anotherAdmin, userWrites } from "./last_admin.ts";
import type { Reads } from "../log/fence.ts";
import { inviteKey, userKey } from "../records/keys.ts";
import { decodeInvite, decodeUser, encodeInvite } from "../records/values.ts";
import { WrongRevision } from "../log/wire.ts";

/** Operations of users. */
export class UserTransactions {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  async get(signPub: string): Promise<User | null> {
    return decode(signPub, await this.#context.readOne(userKey(signPub)));
  }

  add(user: User): Promise<void> {
    const key = userKey(user.signPub);
    let expect = 0;
    return this.#context.transact(`Add user ${user.signPub}`, key, async (deadline, reads) => {
      try {
        await this.#context.commit(userWrites(null, user, expect), deadline);
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

  setStatus(signPub: string, status: UserStatus, at: string, force: boolean): Promise<User> {
    const revokedAt = status === "revoked" ? at : null;
    return this.#set(
      `Set status of user ${signPub}`,
      signPub,
      (user) => user.status === status ? null : { ...user, status, revokedAt },
      force,
    );
  }

  setRole(signPub: string, role: UserRole, force: boolean): Promise<User> {
    return this.#set(
      `Set role of user ${signPub}`,
      signPub,
      (user) => user.role === role ? null : { ...user, role },
      force,
    );
  }

  /** @param next Returns the changed user; `null` if nothing changes */
  #set(
    what: string,
    signPub: string,
    next: (user: User) => User | null,
    force: boolean,
  ): Promise<User> {
    return this.#change(what, signPub, async ({ user, revision }, reads, budget) => {
      const changed = next(user);
      if (changed === null) {
        await this.#context.confirm(reads, budget.deadline);
        return user;
      }
      await this.#write(user, changed, revision, force, budget);
      return changed;
    });
  }

  delete(signPub: string, force: boolean): Promise<void> {
    return this.#change(
      `Delete user ${signPub}`,
      signPub,
      ({ user, revision }, _, budget) => this.#write(user, null, revision, force, budget),
    );
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
  ): Promise<void> {
    const guard = force ? [] : await anotherAdmin(this.#context, user, budget);
    await this.#context.commit([...userWrites(user, next, revision), ...guard], budget.deadline);
  }
}

/** Operations of invites. */
export class InviteTransactions {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  create(invite: Invite): Promise<void> {
    const key = inviteKey(invite.id);
    return this.#context.transact(`Create invite ${invite.id}`, key, async (deadline, reads) => {
      try {
        await this.#context.commit([{ key, value: encodeInvite(invite), expect: 0 }], deadline);
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

  consume(id: string, user: User): Promise<User> {
    return this.#change(`Claim invite ${id}`, id, async (invite, expect, deadline, reads) => {
      const problem = inviteProblem(invite, user.createdAt);
      if (problem !== null) throw problem;
      const claimed: User = { ...user, role: invite.role };
      const used: Write = {
        key: inviteKey(id),
        value: encodeInvite({ ...invite, usedAt: user.createdAt, usedBy: user.signPub }),
        expect,
      };
      const key = userKey(user.signPub);
      const there = await reads.get(key, deadline);
      const registered = decode(user.signPub, there);
      if (registered !== null) {
        // The user is written too, unchanged: if it is deleted meanwhile, the invite is not spent.
        const same = userWrites(registered, registered, there!.revision);
        await this.#context.commit([used, ...same], deadline);
        reads.forget();
        throw userExists(user.signPub);
      }
      await this.#context.commit(
        [used, ...userWrites(null, claimed, revisionOf(there))],
        deadline,
      );
      return claimed;
    });
  }

  cancel(id: string, at: string): Promise<Invite> {
    return this.#change(`Cancel invite ${id}`, id, async (invite, expect, deadline, reads) => {
      const problem = cancelProblem(invite);
      if (problem !== null) throw problem;
      if (invite.canceledAt !== null) {
        await this.#context.confirm(reads, deadline);
        return invite;
      }
      const next: Invite = { ...invite, canceledAt: at };
      const key = inviteKey(id);
      await this.#context.commit([{ key, value: encodeInvite(next), expect }], deadline);
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
