/**
 * What went wrong, in words.
 *
 * @module
 */

import { answerOf } from "../../../client/http/failure.ts";
import { isStoreError } from "../../../core/errors.ts";
import { isSealingError, type SealingReason } from "../../../sealing/error.ts";
import { reasonOf } from "../../shared/api.ts";

/** Of a message that was rejected: what follows "A message that names Bob as its sender". */
const REJECTED: Readonly<Partial<Record<SealingReason, string>>> = {
  tampered: "was rejected: it was changed on the way, or is not from that sender.",
  not_a_member: "was rejected: that sender is not a member of this room.",
  stale: "was rejected: it was sent too long ago, or the sender's clock or yours is wrong.",
  old_epoch: "was rejected: its key was replaced before it arrived.",
  unknown_epoch: "cannot be read: there is no key for you that opens it.",
};

/** The words for a message that was rejected although its header can be read; null for other failures. */
export function rejection(error: unknown): { kind: string; text: string } | null {
  if (!isSealingError(error)) return null;
  const text = REJECTED[error.reason];
  return text === undefined ? null : { kind: error.reason, text };
}

const SEALING: Readonly<Partial<Record<SealingReason, string>>> = {
  key_changed: "The server names another key for this person than before, or lists a member that " +
    "the owner did not add. Ask the person for the card and add it, or remove the member.",
  wrong_sealer:
    "The room has a new owner, whom you have not accepted or who has not created a key " +
    "yet. Reload this page to be asked again.",
  newer_version: "A message or a key was sealed by a newer version. Reload this page.",
  rolled_back: "The server shows an older state of this room than this browser has seen. It may " +
    "have been restored from a backup: ask its admin.",
  removed: "You are no longer a member of this room.",
  unknown_epoch: "There is no key for you yet. The owner's page creates it when it is open.",
  tampered: "The room key was changed on the way, or was not sealed for you.",
  overflow: "Messages arrived faster than they could be read, and some were dropped.",
};

const CODES: Readonly<Record<string, string>> = {
  unreachable: "The server does not respond.",
  foreign: "Something other than the server has answered, such as a proxy.",
  unavailable: "The server is not available now.",
  not_found: "It no longer exists, or you are not a member.",
  forbidden: "You do not have permission to do this.",
  room_exists: "A room with this name exists, or existed before. Choose another name.",
  member_exists: "This person is already a member.",
  room_owner: "The owner cannot leave the room: hand it over or delete it.",
  quota_exceeded: "The server's limit has been reached. Ask its admin.",
  rate_limited: "Too many requests. Wait a moment and try again.",
  conflict: "Someone else changed the room at the same time. Try again.",
  too_large: "The message is too long.",
  closed: "The connection was closed.",
};

/** What happened, in a sentence or two. */
export function said(error: unknown): string {
  if (isSealingError(error)) return SEALING[error.reason] ?? `${error.message}.`;
  if (!isStoreError(error)) return error instanceof Error ? `${error.message}.` : String(error);
  if (answerOf(error)?.reason === "created") {
    return "The clock of this device is wrong. Correct it: signatures are valid for only a minute.";
  }
  if (error.code === "unsupported" && error.hint !== undefined) {
    return `${error.message}: ${error.hint}.`;
  }
  const reason = reasonOf(error);
  return Object.hasOwn(CODES, reason) ? CODES[reason]! : `${error.message}.`;
}
