/**
 * Describes a follower.
 *
 * @module
 */

import type { FollowerState } from "../../src/follower/types.ts";

/** Describes where a follower stands. */
export function describeFollower({ position, lag, exact, quarantined }: FollowerState): string {
  return [
    `${exact ? "exact" : "not exact"} at position ${position}`,
    ...lag === null ? [] : [`${lag} messages behind`],
    ...quarantined === 0 ? [] : [`${quarantined} invalid records`],
  ].join(", ");
}
