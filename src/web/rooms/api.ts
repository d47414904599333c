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
import { callerOf, siteUrl } from "../shared/api.ts";
import type { Keys } from "../shared/keys.ts";

/** The calls. */
export interface Api extends Calls, KeyCalls, ReturnType<typeof programCallsOf> {
  nodes: Client["nodes"];
  /** The server's host, and its port where it has one. */
  readonly authority: string;
  /** How far the server's clock is ahead of this one, milliseconds; 0 where that is no trouble. */
  readonly clockOffset: number;
}

/** Makes them, signed by `keys`. */
export function apiOf(keys: Keys, site: string = siteUrl()): Api {
  const caller = callerOf(keys, site);
  const calls = callsOf(caller, keys.kexPub);
  return {
    ...calls,
    ...keyCallsOf(caller),
    ...programCallsOf(caller, calls),
    authority: new URL(site).host,
    nodes: () => askOf(caller)("GET", "nodes"),
    get clockOffset() {
      return caller.clockOffset;
    },
  };
}
