/**
 * Users: the allowlist, and who is let in.
 *
 * @module
 */

import type { User } from "../model.ts";
import { requireFound } from "../rules.ts";
import * as check from "../validate.ts";
import { oneMore, pageOf, rangeOf } from "./paging.ts";
import type { Shared, Store } from "./types.ts";

/** The methods of users. */
export function userMethods({ open, now }: Shared) {
  return {
    async addUser(input) {
      const user = newUser(input, check.object("user", input).role ?? "user", now());
      await open().addUser(user);
      return user;
    },
    async getUser(signPub) {
      const it = check.signPub("signPub", signPub);
      return await requireFound(open().getUser(it), "user", it);
    },
    async listUsers(page) {
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listUsers(oneMore(range)), (it) => it.signPub);
    },
    async revokeUser(signPub, options) {
      const it = check.signPub("signPub", signPub);
      const force = forceOf(options);
      return await open().setUserStatus(it, "revoked", now(), force);
    },
    async restoreUser(signPub) {
      const it = check.signPub("signPub", signPub);
      return await open().setUserStatus(it, "active", now(), false);
    },
    async setUserRole(signPub, role, options) {
      const it = check.signPub("signPub", signPub);
      const next = check.userRole("role", role);
      const force = forceOf(options);
      return await open().setUserRole(it, next, force);
    },
    async deleteUser(signPub, options) {
      const it = check.signPub("signPub", signPub);
      const force = forceOf(options);
      await open().deleteUser(it, force);
    },
    isAuthorized(signPub) {
      const it = check.hex64(signPub);
      return it === null ? NO : orNo(() => open().isAuthorized(it));
    },
    hasAdmin() {
      return orNo(() => open().hasAdmin());
    },
  } satisfies Partial<Store>;
}

const NO = Promise.resolve(false);
const YES = Promise.resolve(true);

/** Fails closed: whatever goes wrong is a no. Answers known at once cost no new promise. */
function orNo(ask: () => boolean | Promise<boolean>): Promise<boolean> {
  try {
    const answer = ask();
    if (typeof answer === "boolean") return answer ? YES : NO;
    return answer.then((it) => it === true, () => false);
  } catch {
    return NO;
  }
}

/** The record of a new user. */
export function newUser(input: unknown, role: unknown, at: string): User {
  const it = check.object("user", input);
  return {
    signPub: check.signPub("signPub", it.signPub),
    kexPub: check.kexPub("kexPub", it.kexPub),
    handle: check.handle("handle", it.handle),
    role: check.userRole("role", role),
    status: "active",
    createdAt: at,
    revokedAt: null,
  };
}

function forceOf(options: unknown): boolean {
  return check.boolean("force", check.options("options", options, ["force"]).force ?? false);
}
