/**
 * The NATS servers of a bus: those that were given, and those that the control plane names.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isLoopbackUrl } from "../../core/host/loopback.ts";
import type { NatsOptions } from "../../nats/connection/connect.ts";
import { serverUrls, withoutLogins } from "../../nats/connection/servers.ts";
import type { Client } from "../types.ts";

type Given = Pick<NatsOptions, "servers" | "tls">;

/** Maximum number of servers that are taken from a list. */
const MOST = 32;

/**
 * Returns the servers in a response of `nodes` that a client may use besides the given ones: over TLS if
 * the given ones are, with their names verified; without it only on loopback, because anyone who answers
 * in cleartext could pass the identity's signature on to the true server.
 */
export function busServers(given: Given, nodes: readonly { busUrls: string[] }[]): string[] {
  const servers = serverUrls(given.servers);
  const isSecure = given.tls !== undefined || servers.some((it) => /^tls:/i.test(it));
  // With a name that is verified instead of the URL's, any server would do.
  if (given.tls?.serverName !== undefined) return [];
  const isLocal = servers.every((it) => isLocalUrl(it));
  return nodes.flatMap((it) => it.busUrls)
    .filter((it) => typeof it === "string" && /^(tls|nats):\/\/[^/@?#\s]+$/.test(it))
    .filter((it) => it.startsWith(isSecure ? "tls:" : "nats:"))
    // Another machine must not send this one to its own services.
    .filter((it) => isLocalUrl(it) ? isLocal : isSecure)
    .filter((it) => !servers.includes(it))
    .slice(0, MOST);
}

function isLocalUrl(server: string): boolean {
  const url = URL.parse(server.includes("://") ? server : `nats://${server}`);
  return url !== null && isLoopbackUrl(url);
}

/**
 * Tells a connection the servers of the other nodes, now and whenever it has lost its own. The given
 * ones stay in its list. Without a response of the control plane the list stays as it is.
 */
export async function learnServers(
  connection: NatsConnection,
  given: Given,
  client: Pick<Client, "nodes">,
): Promise<void> {
  const learn = async () => {
    const { nodes } = await client.nodes();
    const learned = busServers(given, nodes);
    if (learned.length === 0 || connection.isClosed()) return;
    // The connection has user and password of the URLs already, and takes none in a list.
    connection.setServers([...withoutLogins(given.servers), ...learned]);
  };
  const ignore = () => {};
  await learn().catch(ignore);
  for await (const { type } of connection.status()) {
    if (type === "disconnect") void learn().catch(ignore);
  }
}
