/**
 * The control plane of unibus, an end-to-end-encrypted message bus on NATS: rooms, members, sealed
 * room keys by epoch, the allowlist of users, and single-use invites, in one {@link Store} with two
 * backends. {@link openSqlite} keeps it in a file, {@link openJetStream} replicated in NATS JetStream,
 * and {@link migrateSqliteToKv} moves it from the first to the second.
 *
 * Permissions in Deno: `openSqlite` needs `--allow-read` and `--allow-write` for the file's folder;
 * `openJetStream` needs `--allow-net` for the servers and `--allow-env`; the move needs both.
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

export * from "./src/errors.ts";
export * from "./src/model.ts";
export { createStore, inviteId, type Store, type StoreOptions } from "./src/store.ts";
export type { Backend, Range, RestoreOptions, SealedKeyCursor } from "./src/backend.ts";
export { LIMITS } from "./src/validate.ts";
export { type JetStreamOptions, openJetStream, type StoreWarning } from "./src/jetstream/mod.ts";
export type { NatsOptions, TlsOptions } from "./src/nats/connect.ts";
