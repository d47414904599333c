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
  /** Closes all connections; the proxy takes no more. */
  cut(): Promise<void>;
}

/**
 * Passes connections on to the server at `url`; `change` rewrites what the server sends, as Latin-1
 * text. It must keep the length of what the protocol counts. It may take its time, and what it gives
 * piece by piece is sent so.
 */
export async function tampered(
  url: string,
  change: (text: string) => string | AsyncIterable<string>,
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
    let sent = Promise.resolve();
    upstream.on("data", (chunk) => {
      const changed = change(chunk.toString("latin1"));
      sent = sent.then(async () => {
        if (typeof changed === "string") client.write(changed, "latin1");
        else for await (const piece of changed) client.write(piece, "latin1");
      });
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const address = proxy.address() as { port: number };
  const cut = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => proxy.close(resolve));
  };
  return { url: `nats://127.0.0.1:${address.port}`, cut, [Symbol.asyncDispose]: cut };
}
