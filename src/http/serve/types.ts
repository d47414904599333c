/**
 * Options of the HTTP server.
 *
 * @module
 */

import type { Peer } from "../options.ts";

/** A handler of requests. */
export interface Fetching {
  /** Answers a request; `peer` is the other end of the connection. */
  fetch(request: Request, peer?: Peer): Promise<Response> | Response;
}

/** Options of {@link serve}. */
export interface ServeOptions {
  /** The address to listen on; 127.0.0.1 by default. */
  hostname?: string;
  /** The port; any free one by default (0). */
  port?: number;
  /** Certificate with its chain, and private key, as PEM text. TLS 1.2 at least. */
  tls?: { cert: string; key: string };
  /**
   * Enforces the limits below; use it for an address that others can reach. Always on outside of Deno.
   * In Deno, without it, `Deno.serve` answers, which is faster and has none of these limits.
   */
  hardened?: boolean;
  /** Most bytes of a request's line and headers, at most 65,536 (the default): more is 431. */
  maxHeaderBytes?: number;
  /** Time limit for receiving the headers, milliseconds; 10,000 by default. */
  headersTimeout?: number;
  /**
   * Time limit for receiving a body or sending a response, milliseconds; 30,000 by default. At
   * {@link ServeOptions.minBodyRate} or faster it may take longer.
   */
  requestTimeout?: number;
  /**
   * Bytes a second below which a body uses up `requestTimeout`; 8,192 by default. The connection is
   * closed when it is used up, no matter how fast the body was before.
   */
  minBodyRate?: number;
  /** Milliseconds a connection may wait for its next request; 5,000 by default. */
  keepAliveTimeout?: number;
  /** Most open connections; 10,000 by default. More are closed immediately. */
  maxConnections?: number;
  /**
   * Most open connections from one IPv4 address, or one /64 of IPv6; 512 by default. More are closed
   * immediately, so that one address cannot use up `maxConnections`. A proxy counts as one address.
   */
  maxConnectionsPerAddress?: number;
  /** Closes the server when it is aborted. */
  signal?: AbortSignal;
}

/** A listening server. */
export interface HttpServer extends AsyncDisposable {
  /** Its URL, such as `https://127.0.0.1:8470`. */
  readonly url: string;
  /** The address it listens on. */
  readonly hostname: string;
  /** The port it listens on. */
  readonly port: number;
  /**
   * Stops accepting connections, lets requests in flight finish, and closes the rest after `graceMs`
   * (5,000 by default).
   */
  close(graceMs?: number): Promise<void>;
}
