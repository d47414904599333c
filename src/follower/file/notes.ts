/**
 * What the file of a follower says about live moves.
 *
 * @module
 */

/** Key in `meta`: the live move that makes this file the control plane, once the bucket says so. */
export const JOURNEY = "follower_journey";
/** Key in `meta`: that the control plane has left the bucket for another file. */
export const LEFT = "follower_left";
