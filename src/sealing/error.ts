/**
 * The error of sealed keys, messages and rooms.
 *
 * @module
 */

import { StoreError, type StoreErrorCode, type StoreErrorOptions } from "../core/errors.ts";

/**
 * Why a sealed key, a message or a room was rejected. Stable: branch on it.
 *
 * | reason | meaning |
 * |---|---|
 * | `malformed` | the bytes are not a sealed key or message |
 * | `newer_version` | the format has a version that this package does not support |
 * | `tampered` | it was changed, or sealed for another room, epoch or member, or with another key |
 * | `wrong_room` | the message is for another room |
 * | `wrong_sealer` | the room key is not sealed by the room's owner, or a new owner was not accepted |
 * | `key_changed` | a member's X25519 key is not the one remembered, or its owner did not add it |
 * | `rolled_back` | the control plane returned an older epoch than before |
 * | `not_a_member` | the sender of the message is not a member of the room |
 * | `replayed` | the message has arrived before, or is too old to know |
 * | `stale` | the message was sent too long ago, or too far in the future |
 * | `old_epoch` | the message is encrypted with a key that was replaced too long ago |
 * | `unknown_epoch` | there is no key of that epoch for this member |
 * | `removed` | this identity is not, or no longer, a member of the room |
 * | `overflow` | messages arrived faster than they were read, and were dropped |
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

/** The error code of each reason. */
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
 * Thrown when a sealed key, a message or a room is rejected. Its `code` is `corrupt`, `unsupported`,
 * `not_found` or `refused`; its `reason` is the check that failed.
 */
export class SealingError extends StoreError {
  /** The check that failed; see {@link SealingReason}. */
  readonly reason: SealingReason;

  /**
   * Creates an error.
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

/** Returns whether `error` is a {@link SealingError}, and has the reason `reason` if one is given. */
export function isSealingError(error: unknown, reason?: SealingReason): error is SealingError {
  return error instanceof SealingError && (reason === undefined || error.reason === reason);
}
