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
 * | `invalid` | a value is invalid; `field` names it. Nothing was written |
 * | `not_found` | no such room, member, sealed key, user or invite |
 * | `room_exists` `member_exists` `user_exists` | it already exists |
 * | `room_owner` | the owner of a room cannot be removed from it |
 * | `last_admin` | would leave no active admin; `force` overrides |
 * | `invite_used` `invite_expired` `invite_canceled` | the invite can no longer be claimed |
 * | `missing_key` | a rekey has no key for a member; `missing` lists who. Seal one for each and try again |
 * | `conflict` | the data has changed since the caller read it. Read it again and retry |
 * | `unavailable` | the backend cannot answer now (no server, no quorum, locked, disk full) or did not in `opTimeout`; the outcome of a write may be unknown |
 * | `closed` | the store was closed |
 * | `aborted` | the caller's `signal` was aborted |
 * | `unsupported` | the server or a file has a version that this package does not support |
 * | `corrupt` | stored data is damaged |
 * | `refused` | a safety check refused the operation; the message says how to continue |
 * | `in_progress` | the target holds a migration or import that is not complete |
 * | `mismatch` | verification found differences |
 * | `too_large` | more bytes than the limit |
 * | `too_old` | the requested part of the history has been pruned; begin again from the oldest entry |
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
  | "too_old"
  | "unauthenticated"
  | "forbidden"
  | "rate_limited"
  | "quota_exceeded";

/** One invalid stored record. */
export interface RecordProblem {
  /** The kind of the record, or the first part of a bucket key that cannot be read. */
  kind: string;
  /** The record's kind and key as text, such as `room_keys r1 2 ab…`, or the bucket's key. */
  key: string;
  /** The invalid field; `key` for the bucket's key, `value` for a value that cannot be parsed at all. */
  field: string;
  /** The value found, shortened. */
  value: string;
  /** What must be, and what was found. */
  message: string;
  /** Whether `doctor --repair` can fix it without losing data. */
  repairable: boolean;
}

/** Options of a {@link StoreError}. */
export interface StoreErrorOptions {
  /** The underlying error. */
  cause?: unknown;
  /** For `invalid` the invalid field, else what is missing, or the option to change. */
  field?: string;
  /** What to do next, if the message does not say it. For people; may change. */
  hint?: string;
  /** The first hundred invalid stored records. */
  problems?: readonly RecordProblem[];
  /** For `missing_key`, the signing keys of the first hundred members without a key. */
  missing?: readonly string[];
}

/**
 * The error that all operations of this package throw.
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
  /** For `invalid` the invalid field, else what is missing, or the option to change. */
  readonly field?: string;
  /** What to do next, if the message does not say it. For people; may change. */
  readonly hint?: string;
  /** The first hundred invalid stored records, if they are the cause. */
  readonly problems?: readonly RecordProblem[];
  /** For `missing_key`, the signing keys of the first hundred members without a key. */
  readonly missing?: readonly string[];

  /**
   * Creates an error.
   *
   * @param code The stable code
   * @param message What was attempted and what was found
   * @param options The cause, the invalid field and a hint
   */
  constructor(code: StoreErrorCode, message: string, options: StoreErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
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
