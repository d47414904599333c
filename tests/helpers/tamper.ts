/**
 * A connection in between that changes what a real server says.
 *
 * @module
 */

import { connect as dial, createServer, type Socket } from "node:net";

/** Where clients connect to reach the server through it. */
export interface Tampered extends AsyncDisposable {
  /** URL for clients. */
  readonly url: string;
}

/**
 * Passes connections on to the server at `url`; `change` rewrites what the server sends, as Latin-1
 * text. It must keep the length of what the protocol counts.
 */
export async function tampered(
  url: string,
  change: (text: string) => string,
): Promise<Tampered> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = dial(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => [client, upstream].forEach((it) => it.destroy()));
    }
    client.pipe(upstream);
    upstream.on("data", (chunk) => client.write(change(chunk.toString("latin1")), "latin1"));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const address = proxy.address() as { port: number };
  return {
    url: `nats://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}
