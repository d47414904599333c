/**
 * NATS clients over WebSocket, as a page in a browser is one.
 *
 * @module
 */

import { type NatsConnection, wsconnect, type WsConnectionOptions } from "@nats-io/nats-core";

/** What the other end sees of the browser, and the authority of the server's certificate. */
export interface Browser {
  /** Origin of the page; none for a client that is not in a browser. */
  origin?: string;
  /** Further headers. */
  headers?: Record<string, string>;
  /** PEM of the authority to trust. */
  ca?: string;
}

/** Whether a server opens a WebSocket to a page of this origin. */
export function admits(url: string, origin: string): Promise<boolean> {
  const socket = browserSocket(url, { origin });
  return new Promise((resolve) => {
    socket.onopen = () => {
      socket.onclose = () => resolve(true);
      socket.close();
    };
    socket.onerror = () => resolve(false);
  });
}

function browserSocket(
  url: string,
  { origin, headers }: Browser,
  client?: Deno.HttpClient,
): WebSocket {
  const all = { ...headers, ...origin === undefined ? {} : { origin } };
  // Options of Deno, which the types of browsers do not know.
  const how: unknown = { headers: all, ...client && { client } };
  return new WebSocket(url, how as string[]);
}

/**
 * Connects once over WebSocket. The library has one transport for the whole process: connections over TCP
 * that are made before must not be lost afterwards.
 */
export async function wsConnect(
  servers: string,
  browser: Browser = {},
  options: WsConnectionOptions = {},
): Promise<NatsConnection> {
  const { ca } = browser;
  const client = ca === undefined ? undefined : Deno.createHttpClient({ caCerts: [ca] });
  try {
    return await wsconnect({
      servers,
      reconnect: false,
      timeout: 60_000,
      wsFactory: (url) => {
        const socket = browserSocket(url, browser, client);
        return Promise.resolve({ socket, encrypted: url.startsWith("wss:") });
      },
      ...options,
    });
  } finally {
    client?.close();
  }
}
