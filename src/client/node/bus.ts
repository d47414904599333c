/**
 * Connects an identity to the bus.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError, type StoreError } from "../../core/errors.ts";
import type { Identity } from "../../keys/identity.ts";
import { connectNats, type NatsOptions } from "../../nats/connection/connect.ts";
import type { Client } from "../types.ts";
import { learnServers } from "./bus_servers.ts";
import { openSession } from "./session.ts";

/** How to connect to the bus. */
export interface BusOptions {
  client: Pick<Client, "nodes" | "authority" | "clockOffset">;
  identity: Identity;
  nats: Pick<NatsOptions, "servers" | "tls" | "bootstrapTimeout">;
  /** Whether to use a session's key. Default: if every node supports it. */
  session?: boolean | undefined;
  onProblem: (error: StoreError) => void;
  signal?: AbortSignal | undefined;
}

/** Connects, and learns the servers of the other nodes from the control plane. */
export async function connectBus(options: BusOptions): Promise<NatsConnection> {
  const { client, identity, nats, onProblem, signal } = options;
  const usesSession = options.session ?? await takesSessions(client);
  const session = usesSession ? await openSession({ identity, client, onProblem }) : null;
  try {
    const connection = await connectNats({
      ...nats,
      name: "unibus-client",
      signer: session ?? identity,
      onProblem,
      retryRefused: true,
      ...(signal && { signal }),
    });
    if (session !== null) void connection.closed().then(() => session.close());
    void learnServers(connection, nats, client);
    return connection;
  } catch (error) {
    session?.close();
    throw error;
  }
}

/** Reports whether every node admits the keys of sessions, as the control plane says. */
async function takesSessions(client: Pick<Client, "nodes">): Promise<boolean> {
  try {
    const { nodes } = await client.nodes();
    return nodes.length > 0 && nodes.every((it) => it.sessions === true);
  } catch (error) {
    // It was older than the list of nodes. Any other failure must not make the identity sign nonces.
    if (isStoreError(error, "not_found")) return false;
    throw error;
  }
}
