/**
 * Errors as answers: problem details (RFC 9457) with the store's stable code.
 *
 * @module
 */

import { StoreError, type StoreErrorCode } from "../../core/errors.ts";
import { STATUS } from "../../core/status.ts";

/** What each code means, for people; the title of the problem. */
export const TITLE: Readonly<Record<StoreErrorCode, string>> = Object.freeze({
  invalid: "A value breaks a limit",
  unauthenticated: "Who asks could not be told",
  forbidden: "Whoever asks may not do that",
  not_found: "There is no such thing",
  room_exists: "The room exists",
  member_exists: "The member exists",
  user_exists: "The user exists",
  room_owner: "The owner cannot be removed from the room",
  last_admin: "It would leave no active admin",
  missing_key: "A member has no key",
  conflict: "A race was lost; read again and decide again",
  refused: "It was refused",
  invite_used: "The invite has been used",
  invite_expired: "The invite has expired",
  invite_canceled: "The invite was canceled",
  too_large: "More bytes than the limit",
  quota_exceeded: "A quota is used up",
  rate_limited: "Too many requests",
  unavailable: "The control plane cannot answer now",
  closed: "The control plane is stopping",
  aborted: "The request was ended",
  in_progress: "A move into the store has not completed",
  unsupported: "The control plane failed",
  corrupt: "The control plane failed",
  mismatch: "The control plane failed",
});

/** What a refusal may say besides the error. */
export interface ProblemExtras {
  /** Why a signature was refused, for clients that can do something about it. */
  reason?: string;
  /** Seconds to wait before trying again. */
  retryAfter?: number;
  /** Another status than the code's own, where HTTP has a better one. */
  status?: number;
  /** More headers. */
  headers?: Readonly<Record<string, string>>;
}

/** A refusal on its way to the caller: a store error with what HTTP adds. */
export class Refusal extends StoreError {
  /** What HTTP adds. */
  readonly extras: ProblemExtras;

  /** Makes one. */
  constructor(
    code: StoreErrorCode,
    message: string,
    { field, cause, ...extras }: ProblemExtras & { field?: string; cause?: unknown } = {},
  ) {
    super(code, message, {
      ...(field === undefined ? {} : { field }),
      ...(cause === undefined ? {} : { cause }),
    });
    this.extras = extras;
  }
}

/** An error as a status with problem details. A 5xx says nothing of what is inside. */
export function problemOf(error: unknown, requestId: string): {
  status: number;
  code: StoreErrorCode | "internal";
  headers: Record<string, string>;
  body: Record<string, unknown>;
} {
  const known = error instanceof StoreError && Object.hasOwn(STATUS, error.code) ? error : null;
  const extras = known instanceof Refusal ? known.extras : {};
  const code = known?.code ?? "internal";
  const status = extras.status ?? (known === null ? 500 : STATUS[known.code]);
  const title = known === null ? "The control plane failed" : TITLE[known.code];
  const hidden = status >= 500;
  const retryAfter = extras.retryAfter ?? (status === 503 ? 1 : undefined);
  return {
    status,
    code,
    headers: {
      "content-type": "application/problem+json",
      ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
      ...extras.headers,
    },
    body: {
      type: `/docs#code-${code}`,
      title,
      status,
      detail: hidden || known === null
        ? `${title}; the log has more under the request id`
        : known.message,
      code,
      ...(hidden || known?.field === undefined ? {} : { field: known.field }),
      ...(hidden || known?.hint === undefined ? {} : { hint: known.hint }),
      ...(hidden || known?.missing === undefined ? {} : { missing: known.missing }),
      ...(extras.reason === undefined ? {} : { reason: extras.reason }),
      requestId,
      ...(retryAfter === undefined ? {} : { retryAfter }),
    },
  };
}
