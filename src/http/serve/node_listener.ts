/**
 * A control plane inside a server of `node:http`, such as Express's or Fastify's.
 *
 * @module
 */

import { getRequestListener } from "@hono/node-server";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Fetching } from "./types.ts";

/** A request listener of `node:http`, Express and Fastify. */
export type NodeListener = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;

/**
 * Makes a request listener for `node:http` from a control plane. Nothing may read the request's body
 * before it: in Express, no body parser for its path; in Fastify, a content type parser that reads
 * nothing.
 *
 * @param plane The control plane; with `basePath` when it is mounted below a path
 *
 * @example
 * ```ts
 * import { createServer } from "node:http";
 * import { openSqlite } from "@unibus/membership";
 * import { createControlPlane, nodeListener } from "@unibus/membership/http";
 *
 * await using store = openSqlite(":memory:");
 * const server = createServer(nodeListener(createControlPlane(store)));
 * server.listen(0, "127.0.0.1", () => server.close());
 * ```
 */
export function nodeListener(plane: Fetching): NodeListener {
  return getRequestListener((request, { incoming }) => {
    const { socket } = incoming;
    const { remoteAddress: address } = socket;
    const isGone = () => socket.destroyed;
    return plane.fetch(request, address === undefined ? undefined : { address, isGone });
    // The program we run in may use its own.
  }, { overrideGlobalObjects: false });
}
