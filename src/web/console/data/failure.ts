/**
 * What went wrong, in words that help, by the code that the server gave.
 *
 * @module
 */

import { answerOf } from "../../../client/http/failure.ts";
import { isStoreError } from "../../../core/errors.ts";
import { isShutOut, reasonOf } from "../../shared/api.ts";
import { clockWords } from "../../shared/format.ts";

/** What a failure is, beyond its words. */
export type FailureKind =
  /** The server refused or failed. */
  | "problem"
  /** No server answered. */
  | "unreachable"
  /** The clock here and that of the server differ too much. */
  | "clock"
  /** The signed-in user is no longer an admin. */
  | "ended";

/** Particulars of a {@link Failure}. */
export interface Particulars {
  /** The server's stable code. */
  code?: string | undefined;
  /** Names the request in the server's log. */
  requestId?: string | undefined;
  /** What the server said. */
  detail?: string | undefined;
  /** Seconds to wait. */
  retryAfter?: number | undefined;
  /** How far the clock here is ahead of the server's, milliseconds. */
  skew?: number | undefined;
}

/** Why something did not happen. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly kind: FailureKind;
  readonly particulars: Particulars;

  constructor(kind: FailureKind, message: string, particulars: Particulars = {}) {
    super(message);
    this.kind = kind;
    this.particulars = particulars;
  }
}

/** A failure of anything that was thrown. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (!isStoreError(error)) {
    return new Failure("problem", error instanceof Error ? `${error.message}.` : String(error));
  }
  const { message } = error;
  const answer = answerOf(error);
  const code = reasonOf(error);
  const particulars = {
    code,
    detail: message,
    requestId: answer?.requestId ?? undefined,
    retryAfter: answer?.retryAfter,
    skew: Date.now() - Date.parse(answer?.serverTime ?? ""),
  };
  const kind = code === "unreachable" || code === "foreign"
    ? "unreachable"
    : answer?.reason === "created"
    ? "clock"
    : isShutOut(error)
    ? "ended"
    : "problem";
  return new Failure(kind, message, particulars);
}

/** Reports whether this page aborted the request, so that no error is shown. */
export function isAborted(error: unknown): boolean {
  return isStoreError(error, "aborted") && answerOf(error) === null;
}

const WORDS: Readonly<Record<string, string>> = {
  last_admin: "This is the last active admin. Make another user an admin first, so that " +
    "the control plane can still be administered.",
  not_found: "It no longer exists. Someone else may have deleted it.",
  invite_used: "The invite has been used in the meantime, so it can no longer be canceled.",
  conflict: "Someone else changed it at the same time. Check the current state and try again.",
  rate_limited: "Too many requests came from this address. Wait a moment.",
  unavailable: "The server cannot reach its store now.",
  closed: "The server is stopping.",
  aborted: "The server aborted the request.",
  unsupported: "This server does not keep a history.",
  in_progress: "A migration into the store is not complete. Run it again to complete it.",
  unauthenticated: "The server did not accept the signature.",
  forbidden: "Only an active admin can do this.",
  internal: "Internal server error. Look up the request id in its log.",
};

/** What happened, in words. */
export function wordsOf({ kind, message, particulars: it }: Failure): string {
  switch (kind) {
    case "unreachable":
      return "The server does not respond.";
    case "clock":
      return skewWords(it.skew || 0);
    case "ended":
      return "You are no longer an admin here.";
  }
  if (it.code === undefined) return message;
  if (Object.hasOwn(WORDS, it.code)) return WORDS[it.code]!;
  const { detail = message } = it;
  // It may begin with the name of a field.
  const sentence = `${detail[0]!.toUpperCase()}${detail.slice(1)}.`;
  return it.code === "corrupt" ? `The server found damaged data. ${sentence}` : sentence;
}

/** Whether the server, or its store, is away. */
export function isAway({ kind, particulars: { code } }: Failure): boolean {
  return kind === "unreachable" || code === "unavailable";
}

/** What happened to a change, in words: without an answer it may have been made. */
export function changeWordsOf(failure: Failure): string {
  const words = wordsOf(failure);
  return isAway(failure)
    ? `${words} The change may or may not have been made: check before you repeat it.`
    : words;
}

/** What to say of a clock that is off. */
export function skewWords(skew: number): string {
  return `${clockWords(skew)} Correct it: signatures are valid for only a minute.`;
}
