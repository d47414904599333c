/**
 * The socket of a NATS connection. It works like the library's Node transport, which is not
 * exported, except that each socket keeps an error listener for its whole life: the library removes
 * all listeners between its steps, and an error at that moment (`ECONNRESET` after a failed
 * authentication, a TLS alert after the handshake) crashes the process.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect, isIP, type Socket } from "node:net";
import {
  checkServerIdentity,
  connect as connectTls,
  type ConnectionOptions,
  TLSSocket,
} from "node:tls";
import {
  checkOptions,
  type ConnectionOptions as NatsConnectionOptions,
  DataBuffer,
  type Deferred,
  deferred,
  errors,
  extractProtocolMessage,
  INFO,
  type Server,
  type ServerInfo,
  setTransportFactory,
  type Transport,
} from "@nats-io/transport-node";
import config from "../../../deno.json" with { type: "json" };

/** The library's connection options, which it passes to the connection's transport. */
export interface SocketOptions extends NatsConnectionOptions {
  /** Called with the socket errors of this connection, where the library reports only a timeout. */
  onSocketError?: (error: Error) => void;
}

/** TLS options by the library's names; all others are passed to `node:tls` unchanged. */
interface TlsFiles extends ConnectionOptions {
  caFile?: string;
  certFile?: string;
  keyFile?: string;
  serverName?: string;
  handshakeFirst?: boolean;
}

/**
 * Makes the library connect through our sockets. The library has one transport factory per process,
 * and its own `connect` replaces it: so ours keeps no state and also works for connections that are
 * not ours.
 */
export function useSocketTransport(): void {
  setTransportFactory({
    factory: () => new SocketTransport(),
    dnsResolveFn: async (host) => (await lookup(host, { all: true })).map((it) => it.address),
  });
}

class SocketTransport implements Transport {
  readonly lang = "unibus-membership";
  readonly version = config.version;
  closeError?: Error;
  #options: SocketOptions = {};
  #socket: Socket | null = null;
  #socketError: Error | undefined;
  /** Whether the server's greeting has arrived, so that a close ends an established connection. */
  #connected = false;
  #done = false;
  #frames: Uint8Array[] = [];
  #arrived = deferred<void>();
  readonly #closed = deferred<void | Error>();

  get isClosed(): boolean {
    return this.#done;
  }

  async connect(server: Server, options: SocketOptions): Promise<void> {
    this.#options = options;
    const { handshakeFirst = false } = (options.tls ?? {}) as TlsFiles;
    const { hostname: host, port } = server;
    try {
      if (handshakeFirst) await this.#secure(server, { host, port });
      else await this.#opened(connect({ host, port }), "connect");
      const info = await this.#info();
      checkOptions(info, options);
      const { tls_required: required = false, tls_available: available = false } = info;
      if (!handshakeFirst && (required || (available && options.tls !== null))) {
        await this.#secure(server, { socket: this.#socket! });
      }
      if (required && !this.isEncrypted()) {
        throw errors.InvalidArgumentError.format("tls", "is not available on this server");
      }
      if (this.#done) throw new errors.ClosedConnectionError();
      this.#connected = true;
      this.#listen();
    } catch (cause) {
      this.#socket?.destroy();
      const { code } = cause as { code?: string };
      throw code === "ECONNREFUSED"
        ? new errors.ConnectionError("connection refused", { cause })
        : cause;
    }
  }

  /** Waits until a socket is open, and stores it. */
  async #opened(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
    this.#socket = socket;
    this.#socketError = undefined;
    const open = deferred<void>();
    socket.setNoDelay(true);
    // For the whole life of the socket: an error without a listener crashes the process.
    socket.on("error", (error) => {
      this.#socketError ??= error;
      this.#options.onSocketError?.(error);
      open.reject(error);
    });
    socket.once(event, () => open.resolve());
    const onClose = () => open.reject(new Error(CLOSED[event]));
    socket.once("close", onClose);
    await open;
    socket.off("close", onClose);
  }

  async #secure(server: Server, where: ConnectionOptions): Promise<void> {
    const given = (this.#options.tls ?? {}) as TlsFiles;
    const { caFile, certFile, keyFile, serverName, ...rest } = given;
    const files = {
      ca: await textOf(caFile),
      cert: await textOf(certFile),
      key: await textOf(keyFile),
    };
    const read = Object.fromEntries(Object.entries(files).filter(([, text]) => text !== undefined));
    // The library sets no name for an IP address; Node would then expect `localhost`.
    const name = serverName ?? (server.tlsName || server.hostname);
    const socket = connectTls({
      ...where,
      rejectUnauthorized: true,
      // SNI does not allow IP addresses.
      servername: isIP(name) === 0 ? name : "",
      checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
      ...rest,
      ...read,
    });
    await this.#opened(socket, "secureConnect");
  }

  /** Reads the server's greeting and keeps the bytes that follow it. */
  async #info(): Promise<ServerInfo> {
    const socket = this.#socket!;
    const greeting = deferred<ServerInfo>();
    const onData = (frame: Uint8Array) => {
      this.#frames.push(frame);
      const line = extractProtocolMessage(DataBuffer.concat(...this.#frames));
      if (line === "") return;
      const [, json] = INFO.exec(line) ?? [];
      try {
        if (json === undefined) throw new Error("unexpected response from server");
        greeting.resolve(JSON.parse(json));
      } catch (error) {
        greeting.reject(error);
      }
      socket.off("data", onData);
    };
    const onClose = () => greeting.reject(this.#socketError ?? new Error(CLOSED.greeting));
    socket.on("data", onData).once("close", onClose);
    try {
      return await greeting;
    } finally {
      socket.off("close", onClose);
    }
  }

  #listen(): void {
    const socket = this.#socket!;
    socket.on("data", (frame: Uint8Array) => {
      this.#frames.push(frame);
      this.#arrived.resolve();
    });
    socket.once("close", () => this.#end(this.#socketError));
    this.#arrived.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    for (;;) {
      if (this.#frames.length === 0) await this.#arrived;
      const frames = this.#frames;
      this.#frames = [];
      for (const frame of frames) yield frame;
      if (this.#done) return;
      if (this.#frames.length === 0) this.#arrived = deferred();
    }
  }

  isEncrypted(): boolean {
    return this.#socket instanceof TLSSocket;
  }

  send(frame: Uint8Array): void {
    // A failure shows up in the reader or at the next ping.
    if (!this.#done) this.#socket?.write(frame, () => {});
  }

  closed(): Deferred<void | Error> {
    return this.#closed;
  }

  close(error?: Error): Promise<void> {
    this.#end(error);
    return Promise.resolve();
  }

  disconnect(): void {
    const socket = this.#socket;
    if (!this.#connected || socket === null) return;
    // Everything written before is sent first.
    socket.write(new Uint8Array(0), () => this.#end());
  }

  discard(): void {
    this.#done = true;
    this.#socket?.destroy();
    this.#arrived.resolve();
  }

  #end(error?: Error): void {
    this.#socket?.destroy();
    // A connection that was never established ends with its attempt.
    if (!this.#connected || this.#done) return;
    this.#done = true;
    this.closeError = error;
    this.#arrived.resolve();
    this.#closed.resolve(error);
  }
}

const CLOSED = {
  connect: "the server closed the connection",
  greeting: "the server closed the connection before its greeting",
  secureConnect: "TLS handshake: the server closed the connection",
} as const;

async function textOf(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  if (!existsSync(path)) throw new Error(`${path} doesn't exist`);
  return await readFile(path, "utf8");
}
