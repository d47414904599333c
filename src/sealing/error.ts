/**
 * Why something sealed was not taken.
 *
 * @module
 */

import { StoreError, type StoreErrorCode, type StoreErrorOptions } from "../core/errors.ts";

/**
 * Why something sealed was not taken. Stable: branch on it.
 *
 * | reason | meaning |
 * |---|---|
 * | `malformed` | the bytes are no sealed key, message or card |
 * | `newer_version` | they are of a version that this code does not know |
 * | `tampered` | they were changed, or made for another room, epoch or member, or with another key |
 * | `wrong_room` | the message says that it is of another room |
 * | `wrong_sealer` | the room key, or the room, is not of the owner it should be of |
 * | `key_changed` | a member's X25519 key is not the one known before |
 * | `rolled_back` | the control plane says an epoch older than one it said before |
 * | `not_a_member` | who signed the message is not in the room |
 * | `replayed` | the message came before, or is older than what can be told apart |
 * | `stale` | the message was made too long ago, or too far in the future |
 * | `old_epoch` | the message is under a key that was replaced too long ago |
 * | `unknown_epoch` | there is no key of that epoch for this member |
 * | `removed` | this member is not, or no longer, in the room |
 * | `overflow` | messages came faster than they were taken, and were let go |
 */
export type SealingReason =
  | "malformed"
  | "newer_version"
  | "tampered"
  | "wrong_room"
  | "wrong_sealer"
  | "key_changed"
  | "rolled_back"
  | "not_a_member"
  | "replayed"
  | "stale"
  | "old_epoch"
  | "unknown_epoch"
  | "removed"
  | "overflow";

/** The code that goes with each reason. */
const CODES: Readonly<Record<SealingReason, StoreErrorCode>> = {
  malformed: "corrupt",
  newer_version: "unsupported",
  tampered: "corrupt",
  wrong_room: "corrupt",
  wrong_sealer: "refused",
  key_changed: "refused",
  rolled_back: "refused",
  not_a_member: "refused",
  replayed: "refused",
  stale: "refused",
  old_epoch: "refused",
  unknown_epoch: "not_found",
  removed: "refused",
  overflow: "refused",
};

/**
 * Thrown when something sealed is not as it must be. Its `code` is `corrupt`, `unsupported`,
 * `not_found` or `refused`; its `reason` says which check it failed.
 */
export class SealingError extends StoreError {
  /** The check that failed; see {@link SealingReason}. */
  readonly reason: SealingReason;

  /**
   * Makes one.
   *
   * @param reason The check that failed
   * @param message What was attempted and what was found
   * @param options The cause
   */
  constructor(reason: SealingReason, message: string, options: StoreErrorOptions = {}) {
    super(CODES[reason], message, options);
    this.reason = reason;
  }
}

/** Whether `error` is a {@link SealingError}, of the given reason where one is given. */
export function isSealingError(error: unknown, reason?: SealingReason): error is SealingError {
  return error instanceof SealingError && (reason === undefined || error.reason === reason);
}
