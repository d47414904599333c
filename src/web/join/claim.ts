/// <reference lib="dom" />
/**
 * Claiming an invite, so that in the end it is known whether it was done, also when the network dies in
 * the middle.
 *
 * @module
 */

import type { User } from "../../core/model.ts";
import { type Api, ApiError } from "../shared/api.ts";
import type { Keys } from "../shared/keys.ts";

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
  if (!(error instanceof ApiError)) {
    return { kind: "refused", detail: error instanceof Error ? error.message : String(error) };
  }
  const { code, message, requestId, retryAfter, reason, field } = error;
  const kind = reason === "created"
    ? "clock"
    : reason === "authority"
    ? "address"
    : field === "token"
    ? "mistyped"
    : KIND_OF[code] ?? "refused";
  return { kind, detail: message, requestId, retryAfter };
}

/** Throws what redeeming the invite would: before anybody chooses a name or saves a file for it. */
export async function checkInvite(api: Api, token: string): Promise<void> {
  await api.post("register/check", { token });
}

/** The active user that the signing key is; null when it is none. */
export async function whoAmI(api: Api): Promise<User | null> {
  try {
    return (await api.get<{ user: User | null }>("me")).user;
  } catch (error) {
    if (error instanceof ApiError && error.code === "forbidden") return null;
    throw error;
  }
}

/**
 * Claims the invite. When no answer came, or one that says the invite or the key is taken, the claim may
 * be the one that did it: whether this key is a user now decides.
 */
export async function claim(
  api: Api,
  { kexPub }: Keys,
  token: string,
  handle: string,
): Promise<User> {
  try {
    return await api.post<User>("register", { token, kexPub, handle });
  } catch (error) {
    const isUnclear = error instanceof ApiError &&
      (error.code === "unreachable" || error.code === "foreign" || error.status >= 500 ||
        error.code === "user_exists" || error.code === "invite_used");
    if (!isUnclear) throw error;
    const user = await whoAmI(api).catch(() => null);
    if (user === null) throw error;
    return user;
  }
}
