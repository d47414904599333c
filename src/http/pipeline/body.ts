/**
 * Bodies of requests, never longer than allowed.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { StoreError } from "../../core/errors.ts";
import type { BodyShare } from "./body_budget.ts";
import { Refusal } from "./problem.ts";

/** A longer body must have this many bytes for each of its values, as lists of members and keys have. */
const SPARSE_BYTES = 16 * 1024;
const BYTES_OF_VALUE = 16;

/** Whether a request comes with a body, by what its headers say. */
export function hasBody(headers: Headers): boolean {
  const length = headers.get("content-length");
  return headers.has("transfer-encoding") || (length !== null && length !== "0");
}

/** Refuses a length over `max` before a byte of it is read. */
export function checkLength(headers: Headers, max: number): void {
  const length = headers.get("content-length");
  if (length === null) return;
  if (!/^\d{1,16}$/.test(length)) {
    throw new StoreError("invalid", "content-length must be a number", { field: "content-length" });
  }
  if (Number(length) > max) {
    throw new StoreError("too_large", `The body must be at most ${max} bytes, found ${length}`);
  }
}

/** The bytes of a body as they come; `too_large` when there are more than `max`. */
export async function* bodyOf(request: Request, max: number): AsyncGenerator<Uint8Array> {
  checkLength(request.headers, max);
  if (request.body === null) return;
  let length = 0;
  const reader = request.body.getReader();
  try {
    while (true) {
      const { done, value } = await readFrom(reader);
      if (done) return;
      length += value.length;
      if (length > max) {
        throw new StoreError("too_large", `The body must be at most ${max} bytes, found more`);
      }
      yield value;
    }
  } finally {
    // The rest is not needed; the client must not wait for us to read it.
    void reader.cancel().catch(() => {});
  }
}

async function readFrom(reader: ReadableStreamDefaultReader<Uint8Array>) {
  try {
    return await reader.read();
  } catch (cause) {
    // The client disconnected or was too slow, which is not a failure of the server.
    throw new Refusal("aborted", "The body was incomplete", { status: 400, cause });
  }
}

/**
 * A whole body. Its parts are copied together as they come: in Deno each part, be it one byte, holds
 * the 64 KiB it was read into.
 */
async function bytesOf(request: Request, max: number, share: BodyShare): Promise<Uint8Array> {
  let bytes = new Uint8Array();
  let length = 0;
  for await (const part of bodyOf(request, max)) {
    const needed = length + part.length;
    if (needed > bytes.length) {
      const size = Math.min(max, Math.max(4096, needed, 2 * bytes.length));
      share.hold(size);
      const larger = new Uint8Array(size);
      larger.set(bytes.subarray(0, length));
      bytes = larger;
    }
    bytes.set(part, length);
    length = needed;
  }
  return bytes.subarray(0, length);
}

/**
 * Reads a JSON body; `undefined` if there is none. `checkBytes` sees the bytes first, so that an
 * unsigned body is not parsed.
 */
export async function jsonOf(
  request: Request,
  max: number,
  share: BodyShare,
  checkBytes: (bytes: Uint8Array) => Promise<void>,
): Promise<unknown> {
  const bytes = await bytesOf(request, max, share);
  await checkBytes(bytes);
  if (bytes.length === 0) return undefined;
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    const field = "content-type";
    throw new Refusal("invalid", `${field} must be application/json`, { status: 415, field });
  }
  demandSparse(bytes);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new StoreError("invalid", "The body must be UTF-8", { cause });
  }
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message quotes the body, which may hold a token.
    throw new StoreError("invalid", "The body must be JSON");
  }
}

/** Refuses a body of very many small values: to parse 8 MB of `[],[],…` blocks the process for seconds. */
function demandSparse(bytes: Uint8Array): void {
  if (bytes.length <= SPARSE_BYTES) return;
  let left = bytes.length / BYTES_OF_VALUE;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    // , : [ {
    const begins = byte === 0x2c || byte === 0x3a || byte === 0x5b || byte === 0x7b;
    if (begins && --left < 0) {
      throw new StoreError("invalid", "The body has too many values for its length");
    }
  }
}

/** Refuses a request whose signature does not cover its body. */
export function demandDigest(digest: Uint8Array | null): asserts digest is Uint8Array {
  if (digest !== null) return;
  const field = "content-digest";
  throw new StoreError("unauthenticated", "The signature must cover content-digest", { field });
}

/** Refuses a body that does not have the digest that was signed for it. */
export function checkDigest(bytes: Uint8Array, digest: Uint8Array | null): void {
  demandDigest(digest);
  const actual = createHash("sha256").update(bytes).digest();
  if (actual.length === digest.length && timingSafeEqual(actual, digest)) return;
  throw new StoreError("unauthenticated", "The body does not match the signed content-digest", {
    field: "content-digest",
  });
}
