/**
 * The one error the store throws, and its stable codes.
 *
 * @module
 */

/**
 * Why an operation failed. Codes are stable: branch on them. Messages are for people and may change.
 *
 * | code | meaning |
 * |---|---|
 * | `invalid` | a value breaks a limit; `field` names it. Nothing was written |
 * | `not_found` | no such room, member, sealed key, user or invite |
 * | `room_exists` `member_exists` `user_exists` | already there |
 * | `room_owner` | the owner of a room cannot be removed from it |
 * | `last_admin` | would leave no active admin; `force` overrides |
 * | `invite_used` `invite_expired` `invite_canceled` | the invite can no longer be claimed |
 * | `missing_key` | a rekey has no key for a member; `missing` lists who. Seal one for each and try again |
 * | `conflict` | a race was lost: the data the caller read has changed. Read it again and retry |
 * | `unavailable` | the backend cannot answer now (no server, no quorum, locked, disk full) or did not in `opTimeout`; the outcome of a write may be unknown |
 * | `closed` | the store was closed |
 * | `aborted` | the caller's `signal` was aborted |
 * | `unsupported` | the server or a file has a version this code cannot use |
 * | `corrupt` | stored data is damaged |
 * | `refused` | a safety check refused the operation; the message says how to continue |
 * | `in_progress` | the target holds a migration or import that is not complete |
 * | `mismatch` | verification found differences |
 * | `too_large` | more bytes than the limit |
 * | `unauthenticated` | authentication failed: the signature is missing, wrong, old or was used before |
 * | `forbidden` | permission denied |
 * | `rate_limited` | too many requests; wait before you retry |
 * | `quota_exceeded` | a quota of the control plane is exceeded; `field` names its setting |
 */
export type StoreErrorCode =
  | "invalid"
  | "not_found"
  | "room_exists"
  | "member_exists"
  | "user_exists"
  | "room_owner"
  | "last_admin"
  | "invite_used"
  | "invite_expired"
  | "invite_canceled"
  | "missing_key"
  | "conflict"
  | "unavailable"
  | "closed"
  | "aborted"
  | "unsupported"
  | "corrupt"
  | "refused"
  | "in_progress"
  | "mismatch"
  | "too_large"
  | "unauthenticated"
  | "forbidden"
  | "rate_limited"
  | "quota_exceeded";

/** One stored record that breaks a rule. */
export interface RecordProblem {
  /** The kind of the record, or the first part of a bucket key that cannot be read. */
  kind: string;
  /** The record's key as people read it, such as `room_keys r1 2 ab…`, or the bucket's key. */
  key: string;
  /** The invalid field; `key` for the bucket's key, `value` for a value that cannot be parsed at all. */
  field: string;
  /** The value found, shortened. */
  value: string;
  /** The rule, and what was found. */
  message: string;
  /** Whether `doctor --repair` can fix it without losing data. */
  repairable: boolean;
}

/** What a {@link StoreError} carries besides its code and message. */
export interface StoreErrorOptions {
  /** The backend's own error. */
  cause?: unknown;
  /** What is at fault: for `invalid` the input field, else what is missing or the option to change. */
  field?: string;
  /** What to do next, where the message does not say it. For people; may change. */
  hint?: string;
  /** The first hundred invalid stored records. */
  problems?: readonly RecordProblem[];
  /** Signing keys of the members without a key, the first hundred, for `missing_key`. */
  missing?: readonly string[];
}

/**
 * Thrown by every operation of this package that fails.
 *
 * @example Branch on the code, not on the message
 * ```ts
 * import { openSqlite, StoreError } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * try {
 *   await store.getRoom("nowhere");
 * } catch (error) {
 *   if (!(error instanceof StoreError && error.code === "not_found")) throw error;
 * }
 * ```
 */
export class StoreError extends Error {
  /** `StoreError`, in every realm. */
  override readonly name = "StoreError";
  /** The stable code; see {@link StoreErrorCode}. */
  readonly code: StoreErrorCode;
  /** What is at fault: for `invalid` the input field, else what is missing or the option to change. */
  readonly field?: string;
  /** What to do next, where the message does not say it. For people; may change. */
  readonly hint?: string;
  /** The first hundred invalid stored records, if stored records are the cause. */
  readonly problems?: readonly RecordProblem[];

  /** Signing keys of the members without a key (the first hundred), for `missing_key`. */
  readonly missing?: readonly string[];

  /**
   * Makes one.
   *
   * @param code The stable code
   * @param message What was attempted and what was found
   * @param options The cause, the field at fault and a hint
   */
  constructor(code: StoreErrorCode, message: string, options: StoreErrorOptions = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    if (options.field !== undefined) this.field = options.field;
    if (options.hint !== undefined) this.hint = options.hint;
    if (options.problems !== undefined) this.problems = options.problems;
    if (options.missing !== undefined) this.missing = options.missing;
  }
}

/** Returns whether `error` is a {@link StoreError}, and has the code `code` if one is given. */
export function isStoreError(error: unknown, code?: StoreErrorCode): error is StoreError {
  return error instanceof StoreError && (code === undefined || error.code === code);
}
