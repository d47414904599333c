/**
 * The server for addresses that strangers can reach, on `node:http`: everything they may do is
 * bounded in bytes, time or number.
 *
 * @module
 */

import { createAdaptorServer } from "@hono/node-server";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { within } from "../../core/async/wait.ts";
import type { Fetching, ServeOptions } from "./types.ts";
import { groupOf } from "../pipeline/limits.ts";
import { targetOf } from "../../signature/base.ts";
import { FlowGuard, refuse } from "./flow.ts";

/** The options with every default filled in. */
export type Bounds =
  & Required<Omit<ServeOptions, "tls" | "signal" | "hardened">>
  & Pick<ServeOptions, "tls">;

/** A server that listens and can be ended. */
export interface Listening {
  /** The port. */
  port: number;
  /** Ends it within `graceMs`. */
  close(graceMs: number): Promise<void>;
}

/**
 * Connections that the system may hold until we take them, as many as Linux allows by default. Of more
 * it drops the handshake, which clients make again after 1, 3 and 7 seconds: a crowd that comes at
 * once would wait for that long, with nothing to do for us.
 */
export const BACKLOG = 4096;

/** Starts the hardened server. Rejects with the system's error when it cannot listen. */
export async function serveHardened(plane: Fetching, bounds: Bounds): Promise<Listening> {
  const { tls, headersTimeout } = bounds;
  const serverOptions = {
    maxHeaderSize: bounds.maxHeaderBytes,
    headersTimeout,
    // Ours knows a large body from a slow one.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.max(10, Math.min(1000, headersTimeout / 4)),
    keepAliveTimeout: bounds.keepAliveTimeout,
    ...(tls && { ...tls, minVersion: "TLSv1.2" as const, handshakeTimeout: headersTimeout }),
  };
  const server = createAdaptorServer({
    fetch: (request, env) => {
      const { socket } = env.incoming;
      const { remoteAddress: address, localAddress } = socket;
      const isGone = () => socket.destroyed;
      if (isRewritten(env.incoming.url ?? "", request.url)) {
        return new Response("The path must not contain . or .. segments", { status: 400 });
      }
      return plane.fetch(
        request,
        address === undefined ? undefined : {
          address,
          // A client on this machine that connects to one of its addresses has that address.
          isLocal: address === localAddress,
          isGone,
        },
      );
    },
    // The program we run in may use its own.
    overrideGlobalObjects: false,
    ...(tls
      ? { createServer: createHttpsServer, serverOptions }
      : { createServer: createHttpServer, serverOptions }),
  }) as Server;
  const connections = new Connections(server, bounds, tls ? headersTimeout : null);
  const flow = new FlowGuard(bounds);
  // Before the listener that answers, which may be done at once.
  server.prependListener("request", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    connections.begin(incoming.socket, outgoing);
    flow.watch(incoming, outgoing);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: bounds.port, host: bounds.hostname, backlog: BACKLOG }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close(graceMs) {
      await connections.close(graceMs);
      flow.stop();
    },
  };
}

/**
 * Whether the library has shortened the path (`/v1/x/../me`). A signature is over the path as it was
 * sent, and what judged the request on its way, such as a proxy, has seen that one.
 */
function isRewritten(sent: string, url: string): boolean {
  const target = targetOf("", url);
  // It has a fragment, which no request has.
  if (target === null) return true;
  const read = target.path + target.query;
  return sent.startsWith("/") ? sent !== read : pathOf(sent) !== read;
}

/** Path and query of a whole URL as it was sent. */
function pathOf(sent: string): string {
  const target = targetOf("", sent.replace(/^https?:/i, (scheme) => scheme.toLowerCase()));
  return target === null ? sent : target.path + target.query;
}

/** Open connections, and the responses under way. */
class Connections {
  readonly #server: Server;
  /** The sockets as they were accepted, under TLS too. */
  readonly #accepted = new Set<Socket>();
  /** How many there are from each address. */
  readonly #perAddress = new Map<string, number>();
  /** Those whose TLS handshake is not done, by the other end. */
  readonly #greeting = new Map<string, { socket: Socket; timer: ReturnType<typeof setTimeout> }>();
  /** The sockets that requests come from, with the answers under way. */
  readonly #serving = new Map<Socket, Set<ServerResponse>>();
  #answering = 0;
  #closing = false;
  #onIdle = () => {};

  constructor(server: Server, bounds: Bounds, handshakeTimeout: number | null) {
    this.#server = server;
    server.on("connection", (socket: Socket) => {
      if (!this.#accept(socket, bounds)) return void socket.destroy();
      if (handshakeTimeout === null) this.#ready(socket);
      else this.#greet(socket, handshakeTimeout);
    });
    server.on("secureConnection", (socket: Socket) => {
      this.#greeted(endOf(socket));
      this.#ready(socket);
    });
    server.on("clientError", (error: Error & { code?: string }, socket: Socket) => {
      const begun = [...this.#serving.get(socket) ?? []].some((it) => it.headersSent);
      if (begun || !socket.writable) return void socket.destroy();
      refuse(socket, STATUS[error.code ?? ""] ?? 400);
    });
    // Without a listener a failed handshake is an error of the server in one runtime or the other.
    server.on("tlsClientError", (_: Error, socket: Socket) => void socket.destroy());
  }

  /** Whether there is room for one more. */
  #accept(socket: Socket, { maxConnections, maxConnectionsPerAddress }: Bounds): boolean {
    if (this.#accepted.size >= maxConnections || this.#closing) return false;
    const address = groupOf(socket.remoteAddress ?? "");
    const others = this.#perAddress.get(address) ?? 0;
    if (others >= maxConnectionsPerAddress) return false;
    this.#accepted.add(socket);
    this.#perAddress.set(address, others + 1);
    socket.once("close", () => {
      this.#accepted.delete(socket);
      const left = this.#perAddress.get(address)! - 1;
      if (left === 0) this.#perAddress.delete(address);
      else this.#perAddress.set(address, left);
    });
    return true;
  }

  #greet(socket: Socket, timeout: number): void {
    const end = endOf(socket);
    const timer = setTimeout(() => socket.destroy(), timeout);
    this.#greeting.set(end, { socket, timer });
    socket.once("close", () => this.#greeted(end));
  }

  #greeted(end: string): void {
    clearTimeout(this.#greeting.get(end)?.timer);
    this.#greeting.delete(end);
  }

  #ready(socket: Socket): void {
    this.#serving.set(socket, new Set());
    socket.once("close", () => this.#serving.delete(socket));
  }

  /** Notes a request until its answer is done. */
  begin(socket: Socket, outgoing: ServerResponse): void {
    const answers = this.#serving.get(socket);
    answers?.add(outgoing);
    this.#answering++;
    if (this.#closing) outgoing.shouldKeepAlive = false;
    outgoing.once("close", () => {
      answers?.delete(outgoing);
      if (this.#closing && answers?.size === 0) end(socket);
      if (--this.#answering === 0) this.#onIdle();
    });
  }

  /** Stops accepting, waits for the answers under way, and cuts what is left. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const { socket } of [...this.#greeting.values()]) socket.destroy();
    for (const [socket, answers] of this.#serving) {
      if (answers.size === 0) end(socket);
      for (const outgoing of answers) outgoing.shouldKeepAlive = false;
    }
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
      if (this.#answering === 0) resolve();
    });
    await within(graceMs, Promise.all([idle, closed]), () => {});
    for (const socket of [...this.#serving.keys(), ...this.#accepted]) socket.destroy();
    await closed;
  }
}

/** What a request that cannot be read is answered with, by the code of the error; else 400. */
const STATUS: Record<string, number> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 };

/** Sends what is written, and closes without waiting for the other side. */
function end(socket: Socket): void {
  socket.end(() => socket.destroy());
}

/** The other end of a connection: unique among those that are open. */
function endOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
