/**
 * What went wrong, in words.
 *
 * @module
 */

import { answerOf } from "../../../client/http/failure.ts";
import { isStoreError, type StoreError } from "../../../core/errors.ts";
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
  key_changed: "The server names another key for a person than this browser has seen before, or " +
    "lists a member whom the owner did not add. Ask the person for the card and add it again, or " +
    "remove the member. Until then the room keeps its key, and people who were removed may still " +
    "be able to read.",
  wrong_sealer:
    "The room has a new owner, whom you have not accepted or who has not created a key " +
    "yet. Reload this page to be asked again.",
  newer_version: "A message or a key was made by a newer version of unibus. Reload this page.",
  rolled_back: "The server shows an older state of this room than this browser has seen. It may " +
    "have been restored from a backup: ask an admin.",
  removed:
    "You are no longer a member of this room. You left it or were removed, or it was deleted.",
  unknown_epoch: "The server has no key of this room for you yet. The owner's page or program " +
    "creates it when it is open.",
  tampered: "The room's key was changed on the way, or was not sealed for you. Ask the owner to " +
    "remove you and to add you again with your card.",
  overflow: "Messages arrived faster than they could be read, and some are not shown.",
  malformed: "Something arrived that is neither a message nor a key, and was ignored.",
  wrong_room: "A message of another room arrived here, and was ignored.",
};

const CODES: Readonly<Record<string, string>> = {
  unreachable: "The server does not respond.",
  foreign: "Something other than the server has answered, such as a proxy or a Wi-Fi login page.",
  unavailable: "The server is not available now.",
  unauthenticated: "The server did not accept your signature. Reload this page and try again.",
  authority:
    "The server does not accept requests for this address. Its admin can add the address " +
    "with --authority.",
  not_found: "The room or the person no longer exists, or you are not a member.",
  forbidden: "You do not have permission to do this.",
  room_exists: "A room with this name exists, or existed before. Choose another name.",
  member_exists: "This person is already a member.",
  room_owner: "The owner cannot leave the room: hand it over or delete it.",
  quota_exceeded: "A limit of the server has been reached. Ask an admin to raise it.",
  rate_limited: "Too many requests. Wait a moment and try again.",
  offers: "This person has too many open invitations, and must accept or decline some first.",
  conflict: "Someone else changed the room at the same time. Try again.",
  refused: "The server was replaced by another one. Reload this page.",
  too_large: "The message is too long. Send it in parts.",
  closed: "The connection was closed.",
};

/** What happened, in a sentence or two. */
export function said(error: unknown): string {
  if (isSealingError(error)) return SEALING[error.reason] ?? `${error.message}.`;
  if (!isStoreError(error)) return error instanceof Error ? `${error.message}.` : String(error);
  const answer = answerOf(error);
  if (answer?.reason === "created") {
    return "The clock of this device is wrong. Correct it: signatures are valid for only a minute.";
  }
  // The page's own, for people.
  if (answer === null && error.hint !== undefined && SPEAKING.has(error.code)) {
    return `${error.message}: ${error.hint}.`;
  }
  const reason = whyOf(error);
  return Object.hasOwn(CODES, reason) ? CODES[reason]! : `${error.message}.`;
}

/** Codes of errors that this page makes itself, with a hint. */
const SPEAKING: ReadonlySet<string> = new Set(["unsupported", "unavailable"]);

function whyOf(error: StoreError): string {
  const { reason, code, retryAfter } = answerOf(error) ?? {};
  if (reason === "authority") return reason;
  // Requests that come too fast may come again after a while; an offer, once others are answered.
  if (code === "rate_limited" && retryAfter === undefined) return "offers";
  return reasonOf(error);
}
