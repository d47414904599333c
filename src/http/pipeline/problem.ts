/**
 * Errors as answers: problem details (RFC 9457) with the store's stable code.
 *
 * @module
 */

import { StoreError, type StoreErrorCode } from "../../core/errors.ts";
import { STATUS } from "../../core/status.ts";

/** What each code means, for people; the title of the problem. */
export const TITLE: Readonly<Record<StoreErrorCode, string>> = Object.freeze({
  invalid: "Invalid value",
  unauthenticated: "Authentication failed",
  forbidden: "Permission denied",
  not_found: "Not found",
  room_exists: "Room already exists",
  member_exists: "Member already exists",
  user_exists: "User already exists",
  room_owner: "The owner of a room cannot be removed from it",
  last_admin: "The last active admin cannot be removed",
  missing_key: "A member has no sealed key",
  conflict: "A concurrent change won; read again and retry",
  refused: "The operation was refused",
  invite_used: "The invite has been used",
  invite_expired: "The invite has expired",
  invite_canceled: "The invite was canceled",
  too_old: "Too old",
  too_large: "Too many bytes",
  quota_exceeded: "Quota exceeded",
  rate_limited: "Too many requests",
  unavailable: "The control plane cannot answer now",
  closed: "The control plane is stopping",
  aborted: "The request was aborted",
  in_progress: "A migration into the store is not complete",
  unsupported: "Not supported",
  corrupt: "Internal error",
  mismatch: "Internal error",
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
  /** Whether a 5xx says what was found. */
  isShown?: boolean;
}

/** A refusal on its way to the caller: a store error with what HTTP adds. */
export class Refusal extends StoreError {
  /** What HTTP adds. */
  readonly extras: ProblemExtras;

  /** Makes one. */
  constructor(
    code: StoreErrorCode,
    message: string,
    { field, hint, cause, ...extras }: ProblemExtras & {
      field?: string;
      hint?: string;
      cause?: unknown;
    } = {},
  ) {
    super(code, message, { field, hint, cause });
    this.extras = extras;
  }
}

/** A record's key, which must not be shown to anyone who asks. */
const KEY = /\b([a-z_]+)\.[-\w=/.]*\w/g;

/** The refusal of every request while the stored data cannot be trusted. */
export function alarmed({ code, message, hint, field }: StoreError): Refusal {
  const ways = hint === undefined ? "" : `; ${hint}`;
  return new Refusal(code, message.replace(KEY, "$1.*") + ways, {
    status: 503,
    isShown: true,
    field,
  });
}

/** What a store answers that its control plane has left: the request was not executed, another node answers. */
function elsewhere(error: unknown): unknown {
  if (!(error instanceof StoreError) || error.code !== "refused" || error.field !== "moved") {
    return error;
  }
  return new Refusal("unavailable", "The control plane has moved away from this node", {
    reason: "not_ready",
    isShown: true,
  });
}

/** Returns an error as a status with problem details. A 5xx reveals nothing internal. */
export function problemOf(failure: unknown, requestId: string): {
  status: number;
  code: StoreErrorCode | "internal";
  headers: Record<string, string>;
  body: Record<string, unknown>;
} {
  const error = elsewhere(failure);
  const known = error instanceof StoreError && Object.hasOwn(STATUS, error.code) ? error : null;
  const extras = known instanceof Refusal ? known.extras : {};
  const code = known?.code ?? "internal";
  const status = extras.status ?? (known === null ? 500 : STATUS[known.code]);
  const title = known === null ? "Internal error" : TITLE[known.code];
  const shown = status >= 500 && extras.isShown !== true ? null : known;
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
      detail: shown?.message ?? `${title}; see the log for this request id`,
      code,
      // JSON leaves out what is undefined.
      field: shown?.field,
      hint: shown?.hint,
      missing: shown?.missing,
      reason: extras.reason,
      requestId,
      retryAfter,
    },
  };
}
