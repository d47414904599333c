/**
 * Permissions, defined here only. `docs/http.md` has the same table for people, and
 * `/openapi.json` names the row of every operation.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../core/errors.ts";
import type { Member } from "../../core/model.ts";
import { signPub as checkSignPub } from "../../core/validate.ts";
import type { Store } from "../../core/store.ts";
import { userOf } from "./lookup.ts";

/** The permission that a route needs. */
export const WHO = {
  anyone: "Anyone, without a signature",
  newcomer: "Anyone who signs the request, also if not yet a user",
  user: "Active users",
  admin: "Active admins",
  "user, admin for all": "Active users, their own rooms; active admins, all rooms with `all=true`",
  member: "Active users who are members of the room",
  owner: "The active user who owns the room",
  "owner or admin": "The active user who owns the room; active admins",
  "who put it": "Active users who uploaded the blob; active admins, any blob",
  "owner or oneself": "The active user who owns the room; a member, for itself",
} as const;

/** A row of {@link WHO}. */
export type Who = keyof typeof WHO;

/** What a permission depends on. */
export interface Question {
  /** The store. */
  store: Pick<Store, "isAuthorized" | "getUser" | "getMember">;
  /** The caller's signing key, proved under `enforce`. */
  endpoint: string | null;
  /** The room it is about. */
  roomId?: string | undefined;
  /** The endpoint it is about. */
  about?: string | undefined;
  /** Whether the request is for all users' records. */
  all?: boolean | undefined;
}

/** Checks a permission; throws `unauthenticated`, `forbidden` or `not_found`. Any error refuses. */
export async function authorize(who: Who, question: Question): Promise<void> {
  if (who === "anyone") return;
  const { store, endpoint, about } = question;
  if (endpoint === null) {
    throw new StoreError("unauthenticated", "The request must be signed");
  }
  if (who === "newcomer") return;
  // For every request: a revoked user is refused from the next request on.
  if (!await store.isAuthorized(endpoint)) throw await refusalOf(store, endpoint);
  switch (who) {
    case "user":
    // The route looks at the blob.
    case "who put it":
      return;
    case "user, admin for all":
      if (question.all === true) await demandAdmin(store, endpoint);
      return;
    case "admin":
      return await demandAdmin(store, endpoint);
    case "member":
      return void await membership(question, endpoint);
    case "owner":
    case "owner or admin":
    case "owner or oneself": {
      if (who === "owner or admin" && await isAdmin(store, endpoint)) return;
      const { role } = await membership(question, endpoint);
      if (role === "owner") return;
      if (who === "owner or oneself" && isSame(about, endpoint)) return;
      throw new StoreError("forbidden", "Only the room's owner can do this");
    }
  }
}

/** Whether a key belongs to an active user, also one that this node has not heard of yet. */
export async function isActive(store: Question["store"], endpoint: string): Promise<boolean> {
  return await store.isAuthorized(endpoint) ||
    (await userOf(store, endpoint))?.status === "active";
}

/** Whether a key belongs to an active admin. Rejects if that cannot be determined. */
export async function isAdmin(store: Question["store"], endpoint: string): Promise<boolean> {
  try {
    await authorize("admin", { store, endpoint });
    return true;
  } catch (error) {
    if (isStoreError(error, "forbidden")) return false;
    throw error;
  }
}

/** The error for an unauthorized key: `forbidden` only if that is certain, else it looks like a revocation. */
async function refusalOf(store: Question["store"], endpoint: string): Promise<StoreError> {
  const user = await userOf(store, endpoint);
  return user?.status === "active"
    ? new StoreError(
      "unavailable",
      "Cannot determine now whether the key belongs to an active user",
    )
    : new StoreError("forbidden", "The signing key does not belong to an active user", {
      field: "keyid",
    });
}

async function demandAdmin(store: Question["store"], endpoint: string): Promise<void> {
  const user = await userOf(store, endpoint);
  if (user?.role !== "admin" || user.status !== "active") {
    throw new StoreError("forbidden", "Only an active admin can do this");
  }
}

/** Reads the caller's membership. Does not reveal to others whether the room exists. */
async function membership({ store, roomId }: Question, endpoint: string): Promise<Member> {
  try {
    return await store.getMember(roomId!, endpoint);
  } catch (error) {
    if (!isStoreError(error, "not_found")) throw error;
    throw new StoreError("not_found", "The room does not exist, or the caller is not a member");
  }
}

function isSame(about: string | undefined, endpoint: string): boolean {
  return about !== undefined && checkSignPub("endpoint", about) === endpoint;
}
