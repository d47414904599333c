/**
 * The connection of a page to the bus: NATS over WebSocket.
 *
 * @module
 */

import { type Authenticator, errors, type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { StoreError } from "../../core/errors.ts";
import { reconnectDelay } from "../../nats/connection/reconnect.ts";

/** Options of {@link connectBus}. */
export interface BusOptions {
  /**
   * Returns the WebSocket URLs of the bus that the control plane names; at least one. Called first, and
   * whenever the connection is lost, because another node may have come or gone.
   */
  servers(): Promise<string[]>;
  /** Signs the nonces of the servers. */
  authenticator: Authenticator;
  /** The only inbox that this connection may subscribe to. */
  inboxPrefix: string;
}

/** Why a connection is not opened, and what to do. */
const REFUSED = [
  "The server refuses the connection for messages",
  "if this lasts, ask an admin",
] as const;
const UNREACHED = [
  "The connection for messages cannot be opened",
  "a firewall or a proxy may block WebSockets; if this lasts, ask an admin",
] as const;

const RECONNECT_MS = 500;
const JITTER_MS = 100;
/** How long the server may take to answer the close of a WebSocket, milliseconds. */
const GOODBYE_MS = 1000;

/**
 * A WebSocket that ends soon after it was closed, also on a network that is gone: a browser itself waits
 * about a minute for the server's answer, and the connection would be restored only then.
 */
class ShortSocket extends WebSocket {
  override close(): void {
    super.close();
    // The library takes its handler away at the first call.
    setTimeout(() => this.onclose?.(new CloseEvent("close")), GOODBYE_MS);
  }
}

/**
 * Connects to the bus. The connection is restored when it is lost, also after a refusal: the rights of a
 * member change only when the server has closed its connection.
 *
 * @throws {StoreError} `unavailable`: no server responds, or the bus refuses this identity; the errors of
 * `servers`
 */
export async function connectBus(
  { servers, authenticator, inboxPrefix }: BusOptions,
): Promise<NatsConnection> {
  const urls = await servers();
  let connection: NatsConnection | undefined;
  try {
    connection = await wsconnect({
      servers: urls,
      authenticator,
      inboxPrefix,
      name: "unibus-page",
      timeout: 10_000,
      pingInterval: 5000,
      maxPingOut: 2,
      maxReconnectAttempts: -1,
      reconnectDelayHandler: reconnectDelay(
        () => connection?.getServers() ?? [],
        RECONNECT_MS,
        JITTER_MS,
      ),
      ignoreAuthErrorAbort: true,
      // A page may connect only to the addresses that its policy names, which the control plane knows.
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      wsFactory: (url) =>
        Promise.resolve({ socket: new ShortSocket(url), encrypted: url.startsWith("wss://") }),
    });
  } catch (cause) {
    const [what, hint] = cause instanceof errors.AuthorizationError ? REFUSED : UNREACHED;
    throw new StoreError("unavailable", what, { hint, cause });
  }
  void follow(connection, servers);
  return connection;
}

/** Tells a connection that was lost the servers as they are then. */
async function follow(
  connection: NatsConnection,
  servers: () => Promise<string[]>,
): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type !== "disconnect") continue;
    servers().then((urls) => {
      if (!connection.isClosed()) connection.setServers(urls);
    }).catch(() => {});
  }
}
