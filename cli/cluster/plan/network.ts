/**
 * Whether addresses and ports answer, and which are this machine's.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { systemCode } from "../../../src/core/host/system_code.ts";

/** How long a host may take to answer, in milliseconds. */
const PATIENCE_MS = 2_000;

/** Returns the IP address of a host; null if it has none. */
export async function ipOf(host: string): Promise<string | null> {
  try {
    return (await lookup(host)).address;
  } catch {
    return null;
  }
}

/** What a port says: a program listens, the host says that none does, or nothing comes back. */
export type PortState = "open" | "refused" | "silent";

/** Looks at a port. */
export async function portState(host: string, port: number): Promise<PortState> {
  const socket = connect({ host, port });
  socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error("No answer")));
  try {
    await once(socket, "connect");
    return "open";
  } catch (error) {
    return systemCode(error) === "ECONNREFUSED" ? "refused" : "silent";
  } finally {
    socket.destroy();
  }
}

/** Returns why this machine cannot listen on a port, such as `EADDRINUSE`; null if it can. */
export async function listenFailure(host: string, port: number): Promise<string | null> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, "listening");
    return null;
  } catch (error) {
    return systemCode(error) || "unknown error";
  } finally {
    server.close();
  }
}

/** Returns the addresses of this machine's network interfaces. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((it) => it ?? []).map((it) => it.address);
}
