/**
 * Who sent a request: the signature, and that it was not seen before.
 *
 * @module
 */

import type { BusAuth } from "../../core/operations.ts";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { type Proof, ReplayGuard, verifyRequest } from "../../signature/mod.ts";
import { hex64 } from "../../core/validate.ts";
import { type Limit, limitOf } from "./limits.ts";
import type { ControlPlaneOptions } from "../options.ts";
import { Refusal } from "./problem.ts";

/** How long ago a signature's `created` may be by our clock, milliseconds. */
export const WINDOW_MS = 60_000;

/** How far it may be ahead of our clock, milliseconds: the request then waits for its time. */
export const AHEAD_MS = 5_000;

/** Requests of users remembered at most, about 285 MB; above it new ones wait until old ones lapse. */
const MAX_OF_USERS = 1_000_000;

/** The same for newcomers, apart: anybody can make keys, and must not fill the memory for users. */
const MAX_OF_NEWCOMERS = 100_000;

/** What is known of who sent a request. */
export interface Sender {
  /** The signing key: proved, or where there is a fault or nobody looks, claimed. */
  endpoint: string | null;
  /** The SHA-256 that was signed for the body. */
  digest: Uint8Array | null;
  /** Why it is not proved; null where nobody looks. */
  fault: StoreError | null;
  /** What the signature proves; null where it was not looked at or there is a fault. */
  proof: Proof | null;
}

/** Tells who sent requests. */
export interface Authenticator {
  /** Who sent it. */
  sender(request: Request): Sender;
  /**
   * Throws when the request was seen before. To be asked when it is known that whoever sent it may:
   * else anybody could fill the memory.
   *
   * Gives the milliseconds until its time, to be waited for before it is obeyed. So whatever this
   * process has obeyed was created before the next one starts, which remembers nothing of it and
   * refuses what is older than itself.
   */
  demandUnseen(proof: Proof, by: "user" | "newcomer"): number;
  /** A refusal as it is answered; throws `rate_limited` when there were too many from there. */
  refusal(error: StoreError, address: string): Promise<StoreError>;
}

/** What a client must sign, as a server asks for it (RFC 9421, 5.1). */
const ACCEPT_SIGNATURE = 'sig=("@method" "@authority" "@request-target" "content-digest")' +
  ';created;nonce;keyid;alg="ed25519"';

/** Makes one; `busAuth` says how strict. */
export function authenticator(busAuth: BusAuth, options: ControlPlaneOptions): Authenticator {
  const now = options.clock ?? (() => new Date());
  const failures: Limit = limitOf(options.failuresPerMinute ?? 120, "failed authentications");
  const startedAt = now();
  const guardOf = (maxEntries: number) =>
    new ReplayGuard({ windowMs: WINDOW_MS, maxEntries, startedAt, now });
  const guards = { user: guardOf(MAX_OF_USERS), newcomer: guardOf(MAX_OF_NEWCOMERS) };
  const authorities = options.authorities && { authorities: new Set(options.authorities) };

  return {
    sender(request) {
      const claimed = () => ({ endpoint: claimedKey(request.headers), digest: null, proof: null });
      if (busAuth === "off") return { ...claimed(), fault: null };
      try {
        const proof = verifyRequest(request, {
          now,
          windowMs: WINDOW_MS,
          aheadMs: AHEAD_MS,
          ...authorities,
        });
        return { endpoint: proof.signPub, digest: proof.digest, proof, fault: null };
      } catch (error) {
        if (!isStoreError(error, "unauthenticated")) throw error;
        return { ...claimed(), fault: error };
      }
    },
    demandUnseen({ signPub, nonce, created }, by) {
      switch (guards[by].check(signPub, nonce, created.getTime())) {
        case "fresh":
          return Math.max(0, created.getTime() - now().getTime());
        case "repeated":
          throw unauthenticated(
            "nonce",
            "The nonce was used before; sign each request with a new nonce",
          );
        case "too_old":
          // Nobody knows whether the process before us has seen it.
          throw unauthenticated("created", "The request was created before this server started");
        case "full":
          throw new StoreError(
            "unavailable",
            "Too many requests in a minute to remember their nonces",
          );
      }
    },
    async refusal(error, address) {
      // A key of nobody's is no better than none: anybody can make as many as there are requests.
      if (error.code !== "unauthenticated" && error.field !== "keyid") return error;
      await failures.take(address);
      if (error.code !== "unauthenticated") return error;
      const reason = error.field === undefined ? {} : { reason: error.field };
      const headers = { "accept-signature": ACCEPT_SIGNATURE };
      return new Refusal("unauthenticated", error.message, { cause: error, ...reason, headers });
    },
  };
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
