/**
 * What checkers find.
 *
 * @module
 */

import type { Call } from "./history.ts";

/** The rules, by name. */
export type Rule =
  | "linearizable"
  | "lost_write"
  | "claimed_twice"
  | "owner_key"
  | "stale_yes"
  | "own_write"
  | "yes_while_cut"
  | "answered_while_cut"
  | "nodes_differ"
  | "entry"
  | "entry_order"
  | "unexplained"
  | "histories_differ"
  | "followers_differ"
  | "promoted_lacks"
  | "doctor"
  | "still_connected"
  | "bad_error"
  | "too_long"
  | "nothing_done"
  | "not_checked";

/** A promise that was broken, and the calls that show it. */
export interface Violation {
  rule: Rule;
  message: string;
  calls: Call[];
}
