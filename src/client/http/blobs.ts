/**
 * Blobs: bodies that are streamed, each compared with its SHA-256.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { StoreError } from "../../core/errors.ts";
import { digestField } from "../../signature/mod.ts";
import { hashId } from "../../core/validate.ts";
import type { Upload } from "./caller.ts";
import type { BlobSource } from "../types.ts";

/** The body of what is to be stored; a file is read once for its digest, and again for each try. */
export async function uploadOf(source: BlobSource): Promise<Uint8Array | Upload> {
  if (source instanceof Uint8Array) return source;
  if ("path" in source) {
    const { path } = source;
    const hash = createHash("sha256");
    try {
      for await (const chunk of createReadStream(path)) hash.update(chunk);
    } catch (cause) {
      throw new StoreError("invalid", `The file ${path} could not be read`, {
        field: "path",
        cause,
      });
    }
    return {
      digest: digestField(hash.digest()),
      reopens: true,
      open: () => Readable.toWeb(createReadStream(path)) as unknown as ReadableStream<Uint8Array>,
    };
  }
  const digest = digestField(Buffer.from(hashId("digest", source.digest), "hex"));
  return { digest, reopens: false, open: () => source.stream };
}

/** The same bytes, with an error in place of the end when their SHA-256 is not `id`. */
export function verified(
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
          throw new StoreError("corrupt", `The blob ${id} came with other bytes, of ${found}`);
        }
      },
    }),
  );
}
