/**
 * The control plane of unibus over HTTP: a fetch handler in front of a store, and a server for it.
 *
 * Permissions in Deno: `--allow-net` to listen, and `--allow-env` where the bind is not loopback; for
 * blobs on disk `--allow-read`, `--allow-write` and `--allow-sys=hostname`; and those of the store.
 *
 * @example Serve a store on loopback
 * ```ts ignore
 * import { openSqlite } from "@unibus/membership";
 * import { createControlPlane, serve } from "@unibus/membership/http";
 *
 * const store = openSqlite("./local_files/unibus.db");
 * const server = await serve(createControlPlane(store), { port: 8470 });
 * console.log(`Listening on ${server.url}`);
 * ```
 *
 * @module
 */

export { createControlPlane } from "./control_plane.ts";
export type * from "./events.ts";
export type * from "./options.ts";
export { type NodeListener, nodeListener } from "./serve/node_listener.ts";
export type { PagesOptions } from "./pages/pages.ts";
export { serve } from "./serve/serve.ts";
export type * from "./serve/types.ts";
export { subjectOf } from "./routes/subject.ts";
export type { HistoryAction, HistoryEntry, SmallValues } from "../core/history/entry.ts";
export type * from "../core/operations.ts";
export type * from "../core/store/search.ts";
export * from "../blobs/mod.ts";
