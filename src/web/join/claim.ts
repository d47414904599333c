/**
 * Claiming an invite, so that in the end it is known whether it was done, also when the network dies in
 * the middle.
 *
 * @module
 */

import type { Calls } from "../../client/http/client.ts";
import { answerOf } from "../../client/http/failure.ts";
import { isStoreError } from "../../core/errors.ts";
import type { User } from "../../core/model.ts";
import { meOf, reasonOf } from "../shared/api.ts";

/** Why one cannot go on; each has a page of its own. */
export type TroubleKind =
  | "no_link"
  | "mistyped"
  | "unknown"
  | "used"
  | "expired"
  | "canceled"
  | "already"
  | "revoked"
  | "unreachable"
  | "unavailable"
  | "foreign"
  | "clock"
  | "busy"
  | "address"
  | "insecure"
  | "old"
  | "refused";

/** Trouble, and what is known of it. */
export interface Trouble {
  kind: TroubleKind;
  /** What the server said, for who looks closer. */
  detail?: string;
  /** The request's id in the server's log. */
  requestId?: string | null;
  /** Seconds until another try makes sense. */
  retryAfter?: number | null;
}

const KIND_OF: Readonly<Record<string, TroubleKind>> = {
  not_found: "unknown",
  invite_used: "used",
  invite_expired: "expired",
  invite_canceled: "canceled",
  user_exists: "revoked",
  unreachable: "unreachable",
  foreign: "foreign",
  rate_limited: "busy",
  unavailable: "unavailable",
  closed: "unavailable",
  in_progress: "unavailable",
};

/** What to show for an error. */
export function troubleOf(error: unknown): Trouble {
  if (!isStoreError(error)) {
    return { kind: "refused", detail: error instanceof Error ? error.message : String(error) };
  }
  const { reason, requestId = null, retryAfter = null } = answerOf(error) ?? {};
  const kind = reason === "created"
    ? "clock"
    : reason === "authority"
    ? "address"
    : error.field === "token"
    ? "mistyped"
    : KIND_OF[reasonOf(error)] ?? "refused";
  return { kind, detail: error.message, requestId, retryAfter };
}

/**
 * Claims the invite. When no answer came, or one that says the invite or the key is taken, the claim may
 * be the one that did it: whether this key is a user now decides.
 */
export async function claim(client: Calls, token: string, handle: string): Promise<User> {
  try {
    return await client.register(token, handle);
  } catch (error) {
    const isUnclear = isStoreError(error) &&
      (["unreachable", "foreign", "user_exists", "invite_used"].includes(reasonOf(error)) ||
        (answerOf(error)?.status ?? 0) >= 500);
    if (!isUnclear) throw error;
    const me = await meOf(client).catch(() => null);
    if (me === null) throw error;
    return me.user;
  }
}
