/**
 * Lists the blobs in JetStream's object store, from their descriptions.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { StoreError } from "../../core/errors.ts";
import type { ObjectInfo } from "./format.ts";
import type { Message, ObjectStream } from "./stream.ts";

const BATCH = 500;

/** Options of {@link listMessages}. */
export interface ListOptions {
  /** Timeout of a request, milliseconds. */
  opTimeout: number;
  /** Throws to end it. */
  check: () => void;
}

/**
 * Lists the descriptions of the blobs in the order in which they were stored: all that existed when the list
 * began.
 */
export async function* listInfos(
  stream: ObjectStream,
  options: ListOptions,
): AsyncGenerator<ObjectInfo> {
  for await (const { data } of listMessages(stream, 1, options)) {
    const blob = blobOf(data);
    if (blob !== null) yield blob;
  }
}

/** Lists the messages with descriptions, also of deleted objects, from a sequence on. */
export async function* listMessages(
  stream: ObjectStream,
  first: number,
  { opTimeout, check }: ListOptions,
): AsyncGenerator<Message> {
  const { metas } = stream.subjects;
  const deadline = () => Date.now() + opTimeout;
  const lastSequence = async () =>
    (await stream.read({ last_by_subj: metas }, deadline()))?.sequence ?? 0;
  const last = await lastSequence();
  for (let sequence = first; sequence <= last;) {
    check();
    const found = await stream.readBatch(metas, sequence, BATCH, deadline());
    if (found.length === 0) {
      // Removed meanwhile, or the replica is behind and would leave out newer ones.
      if (await lastSequence() < sequence) return;
      throw new StoreError("unavailable", "Listing the blobs: a replica is behind; try again");
    }
    yield* found;
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
