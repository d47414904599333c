/**
 * Transactions of users and invites. Each changes one message, but for a claim (invite and user) and
 * for taking an admin's access, which writes another active admin along, unchanged: two admins who
 * take each other's access at once cannot both succeed.
 *
 * @module
 */

import type { Invite, User, UserRole, UserStatus } from "../../core/model.ts";
import {
  cancelProblem,
  inviteExists,
  inviteProblem,
  isActiveAdmin,
  lastAdmin,
  notFound,
  userExists,
} from "../../core/rules.ts";
import { activeAdmins } from "../cache/admins.ts";
import { alive, type Entry, revisionOf, type Write } from "../log/bucket.ts";
import type { Context } from "./context.ts";
import type { Reads } from "../log/fence.ts";
import { inviteKey, userKey } from "../records/keys.ts";
import { decodeInvite, decodeUser, encodeInvite, encodeUser } from "../records/values.ts";
import { WrongRevision } from "../log/wire.ts";

/** All of users. */
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
        await this.#context.commit([{ key, value: encodeUser(user), expect }], deadline);
      } catch (error) {
        if (!(error instanceof WrongRevision)) throw error;
        reads.noteLost(error);
        // There, or deleted earlier: then its marker's revision is the one to expect.
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

  /** @param next What the user becomes; `null` where that is what it is already */
  #set(
    what: string,
    signPub: string,
    next: (user: User) => User | null,
    force: boolean,
  ): Promise<User> {
    return this.#change(what, signPub, async (user, deadline, reads) => {
      const changed = next(user);
      if (changed === null) {
        await this.#context.confirm(reads, deadline);
        return { next: user, writes: null };
      }
      const guard = force ? [] : await this.#another(user, deadline);
      return { next: changed, writes: [encodeUser(changed), ...guard] };
    });
  }

  async delete(signPub: string, force: boolean): Promise<void> {
    await this.#change(`Delete user ${signPub}`, signPub, async (user, deadline) => {
      const guard = force ? [] : await this.#another(user, deadline);
      return { next: user, writes: [null, ...guard] };
    });
  }

  #change(
    what: string,
    signPub: string,
    decide: (
      user: User,
      deadline: number,
      reads: Reads,
    ) => Promise<{ next: User; writes: [string | null, ...Write[]] | null }>,
  ): Promise<User> {
    const key = userKey(signPub);
    return this.#context.transact(what, "users", async (deadline, reads) => {
      const entry = await reads.get(key, deadline);
      const user = decode(signPub, entry);
      if (user === null) throw notFound("user", signPub);
      const { next, writes } = await decide(user, deadline, reads);
      if (writes !== null) {
        const [value, ...guard] = writes;
        await this.#context.commit([{ key, value, expect: revisionOf(entry) }, ...guard], deadline);
      }
      return next;
    });
  }

  /** For an active admin: a write that holds only while another one is active. `last_admin` if there is none. */
  async #another(user: User, deadline: number): Promise<Write[]> {
    if (!isActiveAdmin(user)) return [];
    // What the cache knows first; what it does not know yet, the stream does.
    const known = [...this.#context.cache.admins() ?? []];
    for (const candidates of [() => known, () => activeAdmins(this.#context.bucket, deadline)]) {
      for (const signPub of await candidates()) {
        if (signPub === user.signPub) continue;
        const key = userKey(signPub);
        const entry = await this.#context.bucket.get(key, deadline);
        const other = decode(signPub, entry);
        if (other !== null && isActiveAdmin(other)) {
          return [{ key, value: encodeUser(other), expect: revisionOf(entry) }];
        }
      }
    }
    // Nobody, as the leader has it; who leads now may know of somebody.
    const admins = await this.#context.confirmedAdmins(deadline);
    if (admins !== null && [...admins].some((it) => it !== user.signPub)) {
      throw new WrongRevision("The admins were read from a leader that had been replaced");
    }
    throw lastAdmin(user);
  }
}

/** All of invites. */
export class InviteTransactions {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  async create(invite: Invite): Promise<void> {
    const key = inviteKey(invite.id);
    try {
      const deadline = this.#context.deadline();
      await this.#context.commit([{ key, value: encodeInvite(invite), expect: 0 }], deadline);
    } catch (error) {
      if (!(error instanceof WrongRevision)) throw error;
      throw inviteExists(invite.id, error);
    }
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
      if (alive(there) !== null) {
        // Confirmed first: once the invite is spent there is no other try.
        await this.#context.confirm(reads, deadline);
        await this.#context.commit([used], deadline);
        reads.forget();
        throw userExists(user.signPub);
      }
      const added: Write = { key, value: encodeUser(claimed), expect: revisionOf(there) };
      await this.#context.commit([used, added], deadline);
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
