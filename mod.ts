/**
 * The control plane of unibus, an end-to-end-encrypted message bus on NATS: rooms, members, sealed
 * room keys by epoch, the allowlist of users, and single-use invites, in one {@link Store} with two
 * backends. {@link openSqlite} keeps it in a file, {@link openJetStream} replicated in NATS JetStream,
 * and {@link migrateSqliteToKv} moves it from the first to the second.
 *
 * Permissions in Deno: `openSqlite` needs `--allow-read` and `--allow-write` for the file's folder;
 * `openJetStream` needs `--allow-net` for the servers and `--allow-env`, and to list everything, as
 * a snapshot or a move does, read and write access to the system's temporary directory.
 *
 * @example Embed the store
 * ```ts
 * import { openSqlite } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * const { invite, token } = await store.createInvite({ createdBy: "cli", role: "admin" });
 * console.log(invite.expiresAt, token.length);
 * ```
 *
 * @module
 */

export * from "./src/core/errors.ts";
export * from "./src/core/model.ts";
export {
  type ActingStore,
  type HistoryMethods,
  type HistoryPruning,
  type HistoryQuery,
  inviteId,
  type RecordMethods,
  type Store,
  type StoreOptions,
} from "./src/core/store.ts";
export type { HistoryAction, HistoryEntry, SmallValues } from "./src/core/history/entry.ts";
export type { ChainEnd, HistorySource, PruneRange, SignedHead } from "./src/core/history/source.ts";
export * from "./src/history/mod.ts";
export type { RestoredHistory, RestoreOptions } from "./src/core/backend.ts";
export { removeUser } from "./src/core/remove_user.ts";
export type { Found, RoomQuery, Search, UserQuery } from "./src/core/store/search.ts";
export { LIMITS } from "./src/core/validate.ts";
export type { JetStreamOptions, StoreWarning } from "./src/jetstream/mod.ts";
export {
  followStore,
  openJetStream,
  type OpenJetStreamOptions,
  promoteFollower,
  type PromoteOptions,
  type PromoteReport,
} from "./src/follower/mod.ts";
export type {
  FollowedHistory,
  Follower,
  FollowerState,
  FollowOptions,
} from "./src/follower/mod.ts";
export type { Connection, NatsOptions, TlsOptions } from "./src/nats/connection/connect.ts";
export { openSqlite, type SqliteOptions } from "./src/sqlite/mod.ts";
export * from "./src/snapshot/mod.ts";
export {
  callOffGrow,
  type CallOffGrowOptions,
  growStore,
  migrateKvToSqlite,
  migrateSqliteToKv,
  settleGrow,
  type SettleGrowOptions,
} from "./src/move/mod.ts";
export type * from "./src/move/types.ts";
export { shrinkStore } from "./src/move/live/shrink/shrink.ts";
export {
  callOffShrink,
  type FinishedShrink,
  finishShrink,
  type FinishShrinkOptions,
} from "./src/move/live/shrink/finish.ts";
export {
  lossOf,
  type LossOptions,
  type LossReport,
  type ServerEnd,
} from "./src/move/live/shrink/loss.ts";
export type * from "./src/move/live/shrink/types.ts";
export type { Moved } from "./src/jetstream/log/marked.ts";
export type * from "./src/move/live/types.ts";
export { clusterStatus, type ClusterStatusOptions } from "./src/jetstream/cluster/status.ts";
export type {
  BucketCopy,
  BucketStatus,
  ClusterNode,
  ClusterStatus,
} from "./src/core/operations.ts";
export { diagnose, type DiagnoseOptions, type Finding } from "./src/jetstream/repair/doctor.ts";
