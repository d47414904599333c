/**
 * `fetch` with a private certificate authority, on `node:https`, which Deno and Node have. Their own
 * `fetch` takes one in different ways.
 *
 * @module
 */

import { Agent, request as send } from "node:https";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeStream } from "node:stream/web";
import type { Fetch } from "../types.ts";

/** Returns a `fetch` that trusts only `ca`, and a function that closes its connections. */
export function httpsFetch(ca: string): { fetch: Fetch; close: () => void } {
  const agent = new Agent({ ca, keepAlive: true, minVersion: "TLSv1.2" });
  return { fetch: (request) => exchange(request, agent), close: () => agent.destroy() };
}

function exchange(request: Request, agent: Agent): Promise<Response> {
  return new Promise((resolve, reject) => {
    const { method, signal } = request;
    const headers = Object.fromEntries(request.headers);
    const outgoing = send(request.url, { method, headers, agent, signal });
    outgoing.on("response", (incoming) => {
      try {
        resolve(responseOf(incoming, method));
      } catch (error) {
        // An impossible status. Thrown from this callback, the error would end the process.
        incoming.destroy();
        reject(error);
      }
    });
    outgoing.on("error", reject);
    if (request.body === null) outgoing.end();
    // An error of the body ends the request with that error.
    else pipeline(Readable.fromWeb(request.body as NodeStream), outgoing).catch(reject);
  });
}

function responseOf(incoming: IncomingMessage, method: string): Response {
  const headers = new Headers();
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!);
  }
  const status = incoming.statusCode!;
  const none = method === "HEAD" || [204, 205, 304].includes(status);
  if (none) incoming.resume();
  const body = none ? null : Readable.toWeb(incoming) as unknown as ReadableStream<Uint8Array>;
  return new Response(body, { status, headers });
}
