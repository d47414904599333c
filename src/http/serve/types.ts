/**
 * How the server listens.
 *
 * @module
 */

import type { Peer } from "../options.ts";

/** What answers requests. */
export interface Fetching {
  /** Answers one request; `peer` is who is at the other end of the connection. */
  fetch(request: Request, peer?: Peer): Promise<Response> | Response;
}

/** How {@link serve} listens and what it bounds. */
export interface ServeOptions {
  /** The address to listen on; 127.0.0.1 by default. */
  hostname?: string;
  /** The port; any free one by default (0). */
  port?: number;
  /** Certificate with its chain, and private key, as PEM text. TLS 1.2 at least. */
  tls?: { cert: string; key: string };
  /**
   * Bounds everything a stranger may do; for an address that strangers can reach. Always so outside
   * of Deno. In Deno and without it, `Deno.serve` answers, which is quicker and knows none of the
   * bounds below.
   */
  hardened?: boolean;
  /** Most bytes of a request's line and headers, at most 65,536 (the default): more is 431. */
  maxHeaderBytes?: number;
  /** Milliseconds until the headers must be there; 10,000 by default. */
  headersTimeout?: number;
  /**
   * Milliseconds that a request's body, or the reading of an answer, may take; 30,000 by default.
   * What flows at {@link ServeOptions.minBodyRate} may take longer.
   */
  requestTimeout?: number;
  /**
   * Bytes a second that earn a body the time they take; 8,192 by default. A body below that rate is
   * cut once it has used up `requestTimeout`, however quick it was before.
   */
  minBodyRate?: number;
  /** Milliseconds a connection may wait for its next request; 5,000 by default. */
  keepAliveTimeout?: number;
  /** Most connections open at once; 10,000 by default. More are closed at once. */
  maxConnections?: number;
  /**
   * Most connections open at once from one IPv4 address, or one /64 of IPv6; 512 by default. More are
   * closed at once, so that one address cannot use up `maxConnections`. A proxy is one address.
   */
  maxConnectionsPerAddress?: number;
  /** Closes the server when it is aborted. */
  signal?: AbortSignal;
}

/** A server that listens. */
export interface HttpServer extends AsyncDisposable {
  /** Where it is reached, such as `https://127.0.0.1:8470`. */
  readonly url: string;
  /** The address it listens on. */
  readonly hostname: string;
  /** The port it listens on. */
  readonly port: number;
  /**
   * Stops accepting, lets what is in flight finish, and cuts what is not done after `graceMs`
   * (5,000 by default).
   */
  close(graceMs?: number): Promise<void>;
}
