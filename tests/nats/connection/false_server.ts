/**
 * A false NATS server for tests: it chooses what it calls a nonce, and sees what it is answered.
 *
 * @module
 */

import { once } from "node:events";
import { createServer, type Socket } from "node:net";

/** What a client says when it connects. */
export interface Connect {
  nkey?: string;
  sig?: string;
  jwt?: string;
  auth_token?: string;
}

/** A server that runs. */
export interface FalseServer extends AsyncDisposable {
  /** What clients said. */
  readonly connects: Connect[];
  /** What it calls a nonce. */
  nonce: unknown;
  /** Whether it accepts no one. */
  refuses: boolean;
  readonly url: string;
  /** Ends every connection. */
  drop(): void;
}

/** Greets with a nonce of its choice, and lets everybody in. */
export async function falseServer(first: unknown): Promise<FalseServer> {
  const connects: Connect[] = [];
  const sockets = new Set<Socket>();
  const drop = () => sockets.forEach((s) => s.destroy());
  const it = { connects, nonce: first, refuses: false, url: "", drop };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    const info = { server_id: "N", version: "2.15.1", headers: true, max_payload: 1 << 20 };
    socket.write(`INFO ${JSON.stringify({ ...info, nonce: it.nonce })}\r\n`);
    socket.setEncoding("utf8").on("data", (data) => {
      for (const line of String(data).split("\r\n")) {
        if (line.startsWith("CONNECT ")) {
          connects.push(JSON.parse(line.slice(8)));
          if (it.refuses) return void socket.end("-ERR 'Authorization Violation'\r\n");
        }
        if (line === "PING") socket.write("PONG\r\n");
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  it.url = `nats://127.0.0.1:${(server.address() as { port: number }).port}`;
  return Object.assign(it, {
    [Symbol.asyncDispose]: async () => {
      it.drop();
      server.close();
      await once(server, "close");
    },
  });
}

/** The text of a `.creds` file, as the NATS tools write it. */
export function credsOf(jwt: string, seed: string): string {
  return `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------

*************************************************************
`;
}
