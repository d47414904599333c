/**
 * Routes of blobs: bytes under their own SHA-256. Who knows an id may read the blob; what is in it is
 * for its sender to encrypt.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { hashId } from "../../core/validate.ts";
import { noBlob } from "../../blobs/holders.ts";
import type { BlobRange, BlobStore } from "../../blobs/types.ts";
import { bodyOf, checkLength } from "../pipeline/body.ts";
import { authorize } from "../rights/policy.ts";
import { Refusal } from "../pipeline/problem.ts";
import { type Call, type Route, route } from "../pipeline/route.ts";
import { ANSWER, QUERY } from "./shapes.ts";

function blobsOf({ blobs }: Call): BlobStore {
  if (blobs !== null) return blobs;
  throw new StoreError("not_found", "This control plane does not store blobs");
}

/** The one range of a `Range` header (RFC 9110); null where the whole is to be sent. */
function rangeOf(header: string | null, size: number): BlobRange | null {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  // Several ranges and other units may be answered with the whole.
  if (from === undefined || (from === "" && to === "")) return null;
  const start = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (from !== "" && to !== "" && Number(to) < start) return null;
  if (start >= size || (from === "" && Number(to) === 0)) {
    throw new Refusal("invalid", `The range must start before the end at ${size} bytes`, {
      status: 416,
      field: "range",
      headers: { "content-range": `bytes */${size}` },
    });
  }
  return { start, end };
}

async function read(call: Call): Promise<Response> {
  const blobs = blobsOf(call);
  const id = hashId("id", call.params.id);
  const info = await blobs.stat(id);
  if (info === null) throw noBlob();
  const { headers: asked, method } = call.request;
  const headers: Record<string, string> = {
    etag: `"${id}"`,
    "accept-ranges": "bytes",
    // Its name is its content: it never changes.
    "cache-control": "private, max-age=31536000, immutable",
    "content-type": "application/octet-stream",
    "content-disposition": "attachment",
  };
  const known = (asked.get("if-none-match") ?? "").split(",").map((it) => it.trim());
  if (known.some((it) => it === "*" || it.replace(/^W\//, "") === headers.etag)) {
    return new Response(null, { status: 304, headers });
  }
  const ifRange = asked.get("if-range");
  const whole = method === "HEAD" || (ifRange !== null && ifRange !== headers.etag);
  const range = whole ? null : rangeOf(asked.get("range"), info.size);
  headers["content-length"] = String(range === null ? info.size : range.end - range.start + 1);
  if (range !== null) {
    headers["content-range"] = `bytes ${range.start}-${range.end}/${info.size}`;
  }
  if (method === "HEAD") return new Response(null, { headers });
  const blob = await blobs.get(id, range ?? undefined);
  if (blob === null) throw noBlob();
  return new Response(blob.body, { status: range === null ? 200 : 206, headers });
}

/** Blobs. */
export const BLOBS: readonly Route[] = [
  route("PUT /v1/blobs", {
    id: "putBlob",
    summary: "Store bytes; the id is their SHA-256, which `content-digest` must contain",
    who: "user",
    streams: true,
    also: { 201: "Stored; 200 if the blob already existed" },
    answer: ANSWER.blob,
    errors: ["too_large", "quota_exceeded"],
    handle: async (call) => {
      const blobs = blobsOf(call);
      const { request, maxBlobBytes, digest, endpoint, quotas } = call;
      checkLength(request.headers, maxBlobBytes);
      const { id, size, created } = await blobs.put(bodyOf(request, maxBlobBytes), {
        maxBytes: maxBlobBytes,
        holders: endpoint === null
          ? { owners: [], unowned: true }
          : { owners: [endpoint], unowned: false },
        quota: quotas.maxBlobBytesPerUser,
        ...(digest === null ? {} : { expected: Buffer.from(digest).toString("hex") }),
      });
      const headers = { location: `/v1/blobs/${id}` };
      return Response.json({ id, size }, { status: created ? 201 : 200, headers });
    },
  }),
  route("GET /v1/blobs/{id}", {
    id: "getBlob",
    summary: "Read a blob or a range of it",
    who: "user",
    streams: true,
    also: {
      206: "The single range in `Range`",
      304: "`If-None-Match` matches",
      416: "`invalid`: the range starts after the end",
    },
    errors: ["not_found"],
    handle: read,
  }),
  route("DELETE /v1/blobs/{id}", {
    id: "deleteBlob",
    summary:
      "Delete one's own upload; the bytes are deleted if no other user uploaded them, or by an admin",
    who: "who put it",
    query: QUERY.blob,
    errors: ["not_found"],
    handle: async (call) => {
      const { store, endpoint, query: { all = false } } = call;
      const blobs = blobsOf(call);
      const id = hashId("id", call.params.id);
      const holders = await blobs.holders(id);
      if (holders === null) throw noBlob();
      const isOwn = !all && endpoint !== null && holders.owners.includes(endpoint);
      if (!isOwn) await call.demand(() => authorize("admin", { store, endpoint }));
      await (isOwn ? blobs.delete(id, endpoint) : blobs.delete(id));
    },
  }),
];
