/**
 * Single-use invites.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import type { Invite } from "../model.ts";
import { requireFound } from "../rules.ts";
import * as check from "../validate.ts";
import { oneMore, pageOf, rangeOf } from "./paging.ts";
import type { Shared, Store } from "./types.ts";
import { newUser } from "./users.ts";

/** The id of an invite: the SHA-256 of its token, hex. */
export function inviteId(token: string): string {
  return createHash("sha256").update(token.toLowerCase()).digest("hex");
}

/** The methods of invites. */
export function inviteMethods({ open, now }: Shared) {
  return {
    async createInvite(input) {
      const it = check.object("invite", input);
      const createdAt = now();
      const expiresIn = check.integer(
        "expiresIn",
        it.expiresIn ?? check.LIMITS.inviteDefaultMs,
        1,
        check.LIMITS.inviteMaxMs,
      );
      const token = randomBytes(32).toString("hex");
      const invite: Invite = {
        id: inviteId(token),
        createdBy: check.createdBy("createdBy", it.createdBy),
        role: check.userRole("role", it.role ?? "user"),
        note: check.note("note", it.note ?? ""),
        createdAt,
        expiresAt: new Date(Date.parse(createdAt) + expiresIn).toISOString(),
        usedAt: null,
        usedBy: null,
        canceledAt: null,
      };
      await open().createInvite(invite);
      return { invite, token };
    },
    async getInvite(id) {
      const it = check.hashId("id", id);
      return await requireFound(open().getInvite(it), "invite", it);
    },
    async listInvites(page) {
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listInvites(oneMore(range)), (it) => it.id);
    },
    async consumeInvite(token, claim) {
      const secret = check.inviteToken("token", token);
      // The role is the invite's; the backend puts it in when it has read the invite.
      const user = newUser(claim, "user", now());
      return await open().consumeInvite(inviteId(secret), user);
    },
    async cancelInvite(id) {
      const it = check.hashId("id", id);
      return await open().cancelInvite(it, now());
    },
    async pruneInvites(before) {
      const it = check.time("before", before);
      // What is over at a time to come could still be claimed now.
      return await open().pruneInvites(it < now() ? it : now());
    },
  } satisfies Partial<Store>;
}
