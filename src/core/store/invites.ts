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

/** Returns the id of an invite: the SHA-256 of its token, hex. */
export function inviteId(token: string): string {
  return createHash("sha256").update(token.toLowerCase()).digest("hex");
}

/** Returns the methods for invites. */
export function inviteMethods({ open, now, author }: Shared) {
  return {
    async createInvite(input) {
      const given = check.object("invite", input);
      const createdAt = now();
      const expiresIn = check.integer(
        "expiresIn",
        given.expiresIn ?? check.LIMITS.inviteDefaultMs,
        1,
        check.LIMITS.inviteMaxMs,
      );
      const token = randomBytes(32).toString("hex");
      const invite: Invite = {
        id: inviteId(token),
        createdBy: check.createdBy("createdBy", given.createdBy),
        role: check.userRole("role", given.role ?? "user"),
        note: check.note("note", given.note ?? ""),
        createdAt,
        expiresAt: new Date(Date.parse(createdAt) + expiresIn).toISOString(),
        usedAt: null,
        usedBy: null,
        canceledAt: null,
        ...given.room !== undefined && { room: check.roomId("room", given.room) },
      };
      await open().createInvite(invite, author());
      return { invite, token };
    },
    async getInvite(input) {
      const id = check.hashId("id", input);
      return await requireFound(open().getInvite(id), "invite", id);
    },
    async listInvites(page) {
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listInvites(oneMore(range)), (it) => it.id);
    },
    async consumeInvite(token, claim) {
      const secret = check.inviteToken("token", token);
      // The backend sets the role to the invite's.
      const user = newUser(claim, "user", now());
      return await open().consumeInvite(inviteId(secret), user, author());
    },
    async cancelInvite(id) {
      return await open().cancelInvite(check.hashId("id", id), now(), author());
    },
    async pruneInvites(before) {
      const time = check.time("before", before);
      // An invite that expires in the future can still be claimed now.
      return await open().pruneInvites(time < now() ? time : now(), author());
    },
  } satisfies Partial<Store>;
}
