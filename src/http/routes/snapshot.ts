/**
 * A snapshot of the whole control plane, as a download.
 *
 * @module
 */

import { exportSnapshot } from "../../snapshot/write.ts";
import { Refusal } from "../pipeline/problem.ts";
import { type Route, route } from "../pipeline/route.ts";

/** Stores of which a snapshot is being read: each holds one point in time meanwhile. */
const reading = new WeakSet<object>();

/** Reads a stream; its first part at once, so that what fails there is answered as a problem. */
async function begun(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onEnd: () => void,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const reader = stream.getReader();
  const next = async () => {
    try {
      const part = await reader.read();
      if (part.done) onEnd();
      return part;
    } catch (error) {
      onEnd();
      throw error;
    }
  };
  let first: Awaited<ReturnType<typeof next>> | null = await next();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = first ?? await next();
      first = null;
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel(reason) {
      onEnd();
      await reader.cancel(reason);
    },
  });
}

/** The snapshot. */
export const SNAPSHOT: readonly Route[] = [
  route("GET /v1/snapshot", {
    id: "snapshot",
    summary: "Download a snapshot of all records and the history, one at a time",
    who: "admin",
    streams: true,
    errors: ["rate_limited", "corrupt"],
    handle: async ({ store, operations, request }) => {
      const day = operations.now().toISOString().slice(0, 10);
      const headers = {
        "content-type": "application/octet-stream",
        "content-disposition": `attachment; filename="unibus-${day}.ndjson"`,
        "cache-control": "no-store",
      };
      // What answers a HEAD drops the stream, and nothing would end it.
      if (request.method === "HEAD") return new Response(null, { headers });
      if (reading.has(store)) {
        throw new Refusal("rate_limited", "Another snapshot is being downloaded", {
          retryAfter: 10,
        });
      }
      reading.add(store);
      const end = () => void reading.delete(store);
      const stream = exportSnapshot(store);
      return new Response(await begun(stream, end), { headers });
    },
  }),
];
