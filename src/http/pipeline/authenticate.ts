/**
 * Authentication: the signature of a request, and protection against replays.
 *
 * @module
 */

import type { BusAuth } from "../../core/operations.ts";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { type Proof, ReplayGuard, type VerifyOptions, verifyRequest } from "../../signature/mod.ts";
import { hex64 } from "../../core/validate.ts";
import { type Limit, limitOf } from "./limits.ts";
import type { ControlPlaneOptions } from "../options.ts";
import { Refusal } from "./problem.ts";

/** Maximum age of a signature's `created` by our clock, milliseconds. */
export const WINDOW_MS = 60_000;

/** How far it may be ahead of our clock, milliseconds: the request then waits until then. */
export const AHEAD_MS = 5_000;

/** Most nonces of users in memory, about 285 MB; above it requests are refused until old ones expire. */
const MAX_OF_USERS = 1_000_000;

/** The same for newcomers, separately: anyone can create keys, and must not fill the memory for users. */
const MAX_OF_NEWCOMERS = 100_000;

/** What is known of who sent a request. */
export interface Sender {
  /** The signing key: proved, or only claimed if there is a fault or signatures are not checked. */
  endpoint: string | null;
  /** The SHA-256 that was signed for the body. */
  digest: Uint8Array | null;
  /** Why it is not proved; null if signatures are not checked. */
  fault: StoreError | null;
  /** What the signature proves; null if there is a fault or signatures are not checked. */
  proof: Proof | null;
}

/** What a client must sign, as a server asks for it (RFC 9421, 5.1). */
const ACCEPT_SIGNATURE = 'sig=("@method" "@authority" "@request-target" "content-digest")' +
  ';created;nonce;keyid;alg="ed25519"';

/** Identifies who sent a request. */
export class Authenticator {
  readonly #isOff: boolean;
  readonly #now: () => Date;
  readonly #rules: VerifyOptions;
  readonly #failures: Limit;
  readonly #guards: Record<"user" | "newcomer", ReplayGuard>;

  constructor(busAuth: BusAuth, { authorities, clock, failuresPerMinute }: ControlPlaneOptions) {
    this.#isOff = busAuth === "off";
    const now = this.#now = clock ?? (() => new Date());
    this.#rules = {
      now,
      windowMs: WINDOW_MS,
      aheadMs: AHEAD_MS,
      ...authorities && { authorities: new Set(authorities) },
    };
    this.#failures = limitOf(failuresPerMinute ?? 120, "failed authentications");
    const startedAt = now();
    const guardOf = (maxEntries: number) =>
      new ReplayGuard({ windowMs: WINDOW_MS, maxEntries, startedAt, now });
    this.#guards = { user: guardOf(MAX_OF_USERS), newcomer: guardOf(MAX_OF_NEWCOMERS) };
  }

  /** Identifies the sender. */
  sender(request: Request): Sender {
    const claimed = () => ({ endpoint: claimedKey(request.headers), digest: null, proof: null });
    if (this.#isOff) return { ...claimed(), fault: null };
    try {
      const proof = verifyRequest(request, this.#rules);
      return { endpoint: proof.signPub, digest: proof.digest, proof, fault: null };
    } catch (error) {
      if (!isStoreError(error, "unauthenticated")) throw error;
      return { ...claimed(), fault: error };
    }
  }

  /**
   * Refuses a request that was seen before. Call it once the sender is known to be allowed, else anybody
   * could fill the memory.
   *
   * Returns the milliseconds until the request's time, to be waited for before it is obeyed. So
   * whatever this process has obeyed was created before the next one starts, which remembers nothing
   * of it and refuses what is older than itself.
   */
  demandUnseen({ signPub, nonce, created }: Proof, by: "user" | "newcomer"): number {
    switch (this.#guards[by].check(signPub, nonce, created.getTime())) {
      case "fresh":
        return Math.max(0, created.getTime() - this.#now().getTime());
      case "repeated":
        throw unauthenticated(
          "nonce",
          "The nonce was used before; sign each request with a new nonce",
        );
      case "too_old":
        // The previous process may have seen it.
        throw unauthenticated("created", "The request was created before this server started");
      case "full":
        throw new StoreError(
          "unavailable",
          "Too many requests in a minute to remember their nonces",
        );
    }
  }

  /** A refusal as it is answered; throws `rate_limited` after too many from the same address. */
  async refusal(error: StoreError, address: string): Promise<StoreError> {
    // An unknown key counts like no key: a client can create a new one for each request.
    if (error.code !== "unauthenticated" && error.field !== "keyid") return error;
    await this.#failures(address);
    if (error.code !== "unauthenticated") return error;
    const reason = error.field === undefined ? {} : { reason: error.field };
    const headers = { "accept-signature": ACCEPT_SIGNATURE };
    return new Refusal("unauthenticated", error.message, { cause: error, ...reason, headers });
  }
}

function unauthenticated(field: string, message: string): StoreError {
  return new StoreError("unauthenticated", message, { field });
}

/** The key a request says it was signed with. */
function claimedKey(headers: Headers): string | null {
  const field = headers.get("signature-input");
  if (field === null || field.length > 4096) return null;
  return hex64(/;\s*keyid="([0-9a-fA-F]{64})"/.exec(field)?.[1]);
}
