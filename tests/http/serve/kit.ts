/**
 * What the tests of the server share: planes that answer, and clients that misbehave. Runs in Node
 * too.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Fetching } from "../../../src/http/serve/types.ts";
import { type PemPair, type TestAuthority, testAuthority } from "../../helpers/tls.ts";

/** An authority for the tests of one file, made when it is first asked for. */
export function authorities(): () => { authority: TestAuthority; pair: PemPair } {
  let made: { authority: TestAuthority; pair: PemPair } | undefined;
  return () => {
    if (made === undefined) {
      const authority = testAuthority("unibus test CA");
      made = { authority, pair: authority.issue("server") };
    }
    return made;
  };
}

/** Answers with what it was asked: a JSON of method, URL, peer and the body's size. */
export const echo: Fetching = {
  async fetch(request, peer) {
    let size = 0;
    if (request.body !== null) { for await (const chunk of request.body) size += chunk.length; }
    return Response.json({ method: request.method, url: request.url, peer: peer?.address, size });
  },
};

/** A plane that holds its answers back until it is told. */
export function held(): Fetching & { arrived: number; aborted: number; release(): void } {
  let release = () => {};
  const released = new Promise<void>((resolve) => release = resolve);
  const plane = {
    arrived: 0,
    aborted: 0,
    release: () => release(),
    async fetch(request: Request) {
      plane.arrived++;
      request.signal.addEventListener("abort", () => plane.aborted++);
      await released;
      return new Response("done");
    },
  };
  return plane;
}

/** A raw connection, and what came back on it. */
export interface RawClient {
  socket: Socket;
  /** Writes text or bytes. */
  send(data: string | Uint8Array): void;
  /** What came until now. */
  text(): string;
  /** Resolves with the milliseconds until the connection was closed. */
  closed: Promise<number>;
}

/** Connects, with TLS where an authority's certificate is given. */
export function rawClient(port: number, ca?: string): Promise<RawClient> {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const parts: Uint8Array[] = [];
    const where = { port, host: "127.0.0.1" };
    const socket: Socket = ca === undefined
      ? connect(where, ready)
      : connectTls({ ...where, ca, servername: "localhost" }, ready);
    const closed = new Promise<number>((resolve) =>
      socket.once("close", () => resolve(performance.now() - began))
    );
    socket.on("data", (data) => parts.push(data as Uint8Array));
    // Being cut off is what many of these tests wait for.
    socket.on("error", reject);
    function ready() {
      resolve({
        socket,
        send: (data) => void (socket.destroyed || socket.write(data)),
        text: () => Buffer.concat(parts).toString("latin1"),
        closed,
      });
    }
  });
}

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until something is so. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`Not within 60 s: ${what}`);
    await pause(5);
  }
}
