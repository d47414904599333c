/**
 * Sends the clients of a nats-server away when its control plane has moved to another node: their
 * permissions there do not change any longer, and they are cut off from the other clients.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { pause } from "../../../src/core/async/wait.ts";
import { CLIENT_ACCOUNT } from "../../../src/nats/callout/accounts.ts";
import { OpenConnections } from "../../../src/nats/callout/connections.ts";
import { askPresence } from "../../cluster/presence.ts";
import type { Bus } from "../bus.ts";
import type { Surroundings } from "../parts.ts";
import { movedTo } from "./mark.ts";

/** How long the other node may take to leave the cluster, milliseconds. */
const LEAVING_MS = 15_000;
/** Milliseconds between two looks, and between two tries. */
const LOOK_MS = 200;
const RETRY_MS = 1_000;
/** Tries to close all connections. */
const TRIES = 10;

/**
 * Closes the connections of clients to the node's own nats-server if the control plane has left its
 * bucket; they use another server of their list. Never rejects.
 */
export async function sendAway(
  { signal, log }: Pick<Surroundings, "signal" | "log">,
  { connection, system }: Pick<Bus, "connection" | "system">,
  bucket: string,
): Promise<void> {
  // Without authentication the server does not list its connections.
  if (system === null) return;
  try {
    const to = await movedTo(connection, bucket, signal);
    if (to === null) return;
    await whenLeft(connection, to, signal);
    log("info", "clients.sent_away", { to, count: await closeAll(system, signal) });
  } catch (error) {
    if (!signal.aborted) log("error", "clients.left", { reason: error });
  }
}

/** Waits until a node has left the cluster: its nats-server restarts then, and would drop them again. */
async function whenLeft(
  connection: NatsConnection,
  node: string,
  signal: AbortSignal,
): Promise<void> {
  for (const deadline = Date.now() + LEAVING_MS; Date.now() < deadline;) {
    const present = await askPresence(connection, [node]);
    if (present.every((it) => it.node !== node)) return;
    await pause(LOOK_MS, signal);
  }
}

/** Closes them; returns how many there were. */
async function closeAll(system: NatsConnection, signal: AbortSignal): Promise<number> {
  const open = new OpenConnections(system, CLIENT_ACCOUNT, () => {});
  try {
    for (let tries = 1;; tries++) {
      try {
        await open.refresh();
        const own = system.info?.server_id;
        const clients = open.all().filter((it) => it.server === own);
        await Promise.all(clients.map((it) => open.kick(it)));
        return clients.length;
      } catch (error) {
        if (tries === TRIES) throw error;
        await pause(RETRY_MS, signal);
      }
    }
  } finally {
    open.stop();
  }
}
