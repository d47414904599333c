/**
 * The blobs in JetStream's object store: their descriptions are read, not their bytes.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { StoreError } from "../../core/errors.ts";
import type { ObjectInfo } from "./format.ts";
import type { ObjectStream } from "./stream.ts";
import type { BlobInfo } from "../types.ts";

const BATCH = 500;

/** How {@link listObjects} goes about it. */
export interface ListOptions {
  /** Milliseconds one request may take. */
  opTimeout: number;
  /** Throws when it is to end. */
  check: () => void;
}

/** The blobs, as they were stored: all that were there when it began. */
export async function* listObjects(
  stream: ObjectStream,
  options: ListOptions,
): AsyncGenerator<BlobInfo> {
  for await (const { name, size } of listInfos(stream, options)) yield { id: name, size };
}

/** The descriptions of the blobs. */
export async function* listInfos(
  stream: ObjectStream,
  { opTimeout, check }: ListOptions,
): AsyncGenerator<ObjectInfo> {
  const { metas } = stream.subjects;
  const deadline = () => Date.now() + opTimeout;
  const lastSequence = async () =>
    (await stream.read({ last_by_subj: metas }, deadline()))?.sequence ?? 0;
  const last = await lastSequence();
  for (let sequence = 1; sequence <= last;) {
    check();
    const found = await stream.readBatch(metas, sequence, BATCH, deadline());
    if (found.length === 0) {
      // Removed meanwhile; or of a replica that is behind, and what it has not would be left out.
      if (await lastSequence() < sequence) return;
      throw new StoreError("unavailable", "Listing the blobs: a replica is behind; try again");
    }
    for (const { data } of found) {
      const blob = blobOf(data);
      if (blob !== null) yield blob;
    }
    sequence = found.at(-1)!.sequence + 1;
  }
}

/** A description; `null` for that of a deleted object, and for what is no blob. */
function blobOf(description: Uint8Array): ObjectInfo | null {
  try {
    const info = JSON.parse(Buffer.from(description).toString("utf8")) as ObjectInfo;
    const { name, size, deleted } = info;
    const isBlob = deleted !== true && /^[0-9a-f]{64}$/.test(name) && Number.isSafeInteger(size) &&
      size >= 0;
    return isBlob ? info : null;
  } catch {
    return null;
  }
}
