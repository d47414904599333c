/**
 * A second copy of a control plane in JetStream: a SQLite file that keeps up with the bucket, and a
 * store that has one beside it as a witness.
 *
 * @module
 */

export { followStore } from "./follow.ts";
export { openFollowed, openJetStream, type OpenJetStreamOptions } from "./open.ts";
export { promoteFollower, type PromoteOptions, type PromoteReport } from "./promote.ts";
export type { FollowedHistory, Follower, FollowerState, FollowOptions } from "./types.ts";
