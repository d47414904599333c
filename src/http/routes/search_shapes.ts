/**
 * The shapes of what admins search for: see `shapes.ts`.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { UserStatus } from "../../core/model.ts";
import * as check from "../../core/validate.ts";
import { by, type JsonSchema, object, optional, type Schema } from "../pipeline/schema.ts";
import { paging, role } from "./shapes.ts";

/** Most characters that are searched for. */
const SEARCH_CHARS = 64;

/** One of some words. */
export function oneOf<const T extends string>(
  values: readonly T[],
  json: JsonSchema = {},
): Schema<T> {
  return by((field, value) => check.oneOf(field, value, values), { enum: values, ...json });
}

/** Text that is not empty. */
export function textUpTo(most: number, json: JsonSchema): Schema<string> {
  return by((field, value) => {
    if (typeof value === "string" && value !== "" && value.length <= most) return value;
    throw new StoreError("invalid", `${field} must be 1 to ${most} characters`, { field });
  }, { type: "string", minLength: 1, maxLength: most, ...json });
}

/** The status of a user. */
export const userStatus: Schema<UserStatus> = oneOf(["active", "revoked"]);

/** Queries. */
export const SEARCH = {
  users: object({
    ...paging,
    search: optional(textUpTo(SEARCH_CHARS, {
      description:
        "Only users whose handle contains this, ignoring case, or whose key begins with it",
    })),
    role: optional(role),
    status: optional(userStatus),
  }),
  invites: object({
    ...paging,
    state: optional(oneOf(["open", "used", "expired", "canceled"])),
  }),
} as const;
