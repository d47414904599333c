/**
 * The methods for blobs: streamed bodies, each verified with its SHA-256.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { StoreError } from "../../core/errors.ts";
import { digestField } from "../../signature/digest_field.ts";
import * as check from "../../core/validate.ts";
import type { Upload } from "../http/call.ts";
import type { Caller } from "../http/caller.ts";
import { jsonOf, textOf } from "../http/failure.ts";
import type { BlobSource, Client, ReadBlob, StoredBlob } from "../types.ts";

/** The methods that need files or incremental SHA-256, which Web Crypto does not have. */
type BlobCalls = Pick<Client, "putBlob" | "getBlob" | "statBlob" | "deleteBlob">;

const TIMEOUT_MS = 300_000;

/** Returns the methods for blobs. */
export function blobCallsOf(caller: Caller): BlobCalls {
  return {
    async putBlob(source, { signal, timeout = TIMEOUT_MS } = {}) {
      return await caller.call({
        method: "PUT",
        path: "/v1/blobs",
        headers: { "content-type": "application/octet-stream" },
        body: await uploadOf(source),
        timeout,
        ...(signal && { signal }),
        read: async (response) => await jsonOf(response) as StoredBlob,
      });
    },
    async getBlob(id, { signal, timeout = TIMEOUT_MS, start, end } = {}) {
      const hex = check.hashId("id", id);
      const isPart = start !== undefined || end !== undefined;
      const from = check.integer("start", start ?? 0, 0, Number.MAX_SAFE_INTEGER);
      const to = end === undefined ? "" : check.integer("end", end, from, Number.MAX_SAFE_INTEGER);
      return await caller.call<ReadBlob>({
        method: "GET",
        path: `/v1/blobs/${hex}`,
        ...(isPart && { headers: { range: `bytes=${from}-${to}` } }),
        timeout,
        ...(signal && { signal }),
        read: (response) => {
          const body = response.body ?? new Blob().stream();
          if (isPart && response.status !== 206) {
            void body.cancel().catch(() => {});
            throw new StoreError(
              "unsupported",
              `Reading a range of blob ${hex}: the server sent all of it`,
            );
          }
          return { ...sizeOf(hex, response), body: isPart ? body : verified(body, hex) };
        },
      });
    },
    async statBlob(id) {
      const hex = check.hashId("id", id);
      const path = `/v1/blobs/${hex}`;
      return await caller.call({ method: "HEAD", path, read: (response) => sizeOf(hex, response) });
    },
    async deleteBlob(id, query) {
      const path = `/v1/blobs/${check.hashId("id", id)}`;
      await caller.call({ method: "DELETE", path, ...(query && { query }), read: textOf });
    },
  };
}

/** Returns the size of the whole blob, also for a range. */
function sizeOf(id: string, { headers }: Response): { id: string; size: number } {
  const [, total] = /\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
  return { id, size: Number(total ?? headers.get("content-length")) };
}

/** Returns the body to send. A file is read once for its digest, and again for each attempt. */
async function uploadOf(source: BlobSource): Promise<Uint8Array | Upload> {
  if (source instanceof Uint8Array) return source;
  if ("path" in source) {
    const { path } = source;
    const hash = createHash("sha256");
    try {
      for await (const chunk of createReadStream(path)) hash.update(chunk);
    } catch (cause) {
      throw new StoreError("invalid", `Cannot read the file ${path}`, { field: "path", cause });
    }
    return {
      digest: digestField(hash.digest()),
      reopens: true,
      open: () => Readable.toWeb(createReadStream(path)) as unknown as ReadableStream<Uint8Array>,
    };
  }
  const digest = digestField(Buffer.from(check.hashId("digest", source.digest), "hex"));
  return { digest, reopens: false, open: () => source.stream };
}

/** Passes the bytes through, and fails at the end if their SHA-256 is not `id`. */
function verified(
  body: ReadableStream<Uint8Array>,
  id: string,
): ReadableStream<Uint8Array> {
  const hash = createHash("sha256");
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        hash.update(chunk);
        controller.enqueue(chunk);
      },
      flush() {
        const found = hash.digest("hex");
        if (found !== id) {
          throw new StoreError(
            "corrupt",
            `Reading blob ${id}: the SHA-256 of its bytes is ${found}`,
          );
        }
      },
    }),
  );
}
