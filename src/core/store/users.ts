/**
 * Users: the allowlist, and authorization.
 *
 * @module
 */

import type { User } from "../model.ts";
import { requireFound } from "../rules.ts";
import * as check from "../validate.ts";
import { oneMore, pageOf, rangeOf } from "./paging.ts";
import type { Shared, Store } from "./types.ts";

/** Returns the methods for users. */
export function userMethods({ open, now, author }: Shared) {
  return {
    async addUser(input) {
      const user = newUser(input, check.object("user", input).role ?? "user", now());
      await open().addUser(user, author());
      return user;
    },
    async getUser(input) {
      const signPub = check.signPub("signPub", input);
      return await requireFound(open().getUser(signPub), "user", signPub);
    },
    async listUsers(page) {
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listUsers(oneMore(range)), (it) => it.signPub);
    },
    async revokeUser(signPub, options) {
      const key = check.signPub("signPub", signPub);
      return await open().setUserStatus(key, "revoked", now(), forceOf(options), author());
    },
    async restoreUser(signPub) {
      const key = check.signPub("signPub", signPub);
      return await open().setUserStatus(key, "active", now(), false, author());
    },
    async setUserRole(signPub, role, options) {
      const key = check.signPub("signPub", signPub);
      const next = check.userRole("role", role);
      return await open().setUserRole(key, next, forceOf(options), author());
    },
    async deleteUser(signPub, options) {
      const key = check.signPub("signPub", signPub);
      await open().deleteUser(key, forceOf(options), author());
    },
    isAuthorized(signPub) {
      const key = check.hex64(signPub);
      return key === null ? NO : orNo(() => open().isAuthorized(key));
    },
    hasAdmin() {
      return orNo(() => open().hasAdmin());
    },
  } satisfies Partial<Store>;
}

const NO = Promise.resolve(false);
const YES = Promise.resolve(true);

/** Fails closed: any error is a no. An immediate answer needs no new promise. */
function orNo(ask: () => boolean | Promise<boolean>): Promise<boolean> {
  try {
    const answer = ask();
    if (typeof answer === "boolean") return answer ? YES : NO;
    return answer.then((it) => it === true, () => false);
  } catch {
    return NO;
  }
}

/** Returns the record of a new user. */
export function newUser(input: unknown, role: unknown, at: string): User {
  const given = check.object("user", input);
  return {
    signPub: check.signPub("signPub", given.signPub),
    kexPub: check.kexPub("kexPub", given.kexPub),
    handle: check.handle("handle", given.handle),
    role: check.userRole("role", role),
    status: "active",
    createdAt: at,
    revokedAt: null,
  };
}

function forceOf(options: unknown): boolean {
  return check.boolean("force", check.options("options", options, ["force"]).force ?? false);
}
