/**
 * What the console asks of the server: the calls of every client, and a word when the session ends.
 *
 * @module
 */

import type { Caller } from "../../../client/http/caller.ts";
import { type Calls, callsOf } from "../../../client/http/client.ts";
import { failureOf } from "./failure.ts";

/** What the console can do. */
export interface Api extends Calls {
  /** The same calls, ended by `signal` where there is one. */
  with(signal?: AbortSignal): Calls;
  /** How far the server's clock is ahead of this one, milliseconds; 0 where that is no trouble. */
  clockOffset(): number;
}

/**
 * Makes it of what signs and carries requests.
 *
 * @param onEnded Called when an answer says that the signed-in user is no longer an admin
 */
export function apiOf(
  caller: Pick<Caller, "call" | "timeout" | "clockOffset">,
  onEnded: () => void,
): Api {
  const calls = (signal?: AbortSignal): Calls =>
    callsOf({
      timeout: caller.timeout,
      call: (it) =>
        caller.call({ ...it, ...signal && { signal } }).catch((error) => {
          if (failureOf(error).kind === "ended") onEnded();
          throw error;
        }),
    });
  return { ...calls(), with: calls, clockOffset: () => caller.clockOffset };
}
