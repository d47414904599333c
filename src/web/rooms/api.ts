/**
 * What the page asks of the control plane.
 *
 * @module
 */

import { askOf } from "../../client/http/ask.ts";
import { type Calls, callsOf } from "../../client/http/client.ts";
import { type KeyCalls, keyCallsOf } from "../../client/http/keys.ts";
import { programCallsOf } from "../../client/http/programs.ts";
import type { Client } from "../../client/types.ts";
import { callerOf } from "../shared/api.ts";
import type { Keys } from "../shared/keys.ts";

/** The calls. */
export interface Api extends Calls, KeyCalls, ReturnType<typeof programCallsOf> {
  nodes: Client["nodes"];
  /** How far the server's clock is ahead of this one, milliseconds; 0 where that is no trouble. */
  readonly clockOffset: number;
}

/** Makes them, signed by `keys`. */
export function apiOf(keys: Keys): Api {
  const caller = callerOf(keys);
  const calls = callsOf(caller, keys.kexPub);
  return {
    ...calls,
    ...keyCallsOf(caller),
    ...programCallsOf(caller, calls),
    nodes: () => askOf(caller)("GET", "nodes"),
    get clockOffset() {
      return caller.clockOffset;
    },
  };
}
