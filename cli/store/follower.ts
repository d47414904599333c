/**
 * Describes a follower.
 *
 * @module
 */

import { counted } from "../../src/core/text/counted.ts";
import type { FollowerState } from "../../src/follower/types.ts";

/** Describes where a follower stands. */
export function describeFollower({ position, lag, exact, quarantined }: FollowerState): string {
  return [
    `${exact ? "exact" : "not exact"} at position ${position}`,
    ...lag === null ? [] : [`${counted(lag, "message")} behind`],
    ...quarantined === 0 ? [] : [counted(quarantined, "invalid record")],
  ].join(", ");
}
