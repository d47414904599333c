/**
 * Reads and checks the description of an object.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { StoreError } from "../../core/errors.ts";
import { digestOfId, type ObjectInfo } from "./format.ts";
import type { ObjectStream } from "./stream.ts";

/** The description of an object, with the sequence of its message. */
export interface Found {
  /** What it says. */
  info: ObjectInfo;
  /** The sequence of its message. */
  revision: number;
}

/** Reads the description of a blob at the leader, or `null` when there is none. */
export async function readInfo(
  stream: ObjectStream,
  id: string,
  deadline: number,
): Promise<Found | null> {
  const message = await stream.read({ last_by_subj: stream.subjects.metaOf(id) }, deadline);
  if (message === null) return null;
  try {
    const info = JSON.parse(Buffer.from(message.data).toString("utf8")) as ObjectInfo;
    return { info, revision: message.sequence };
  } catch (cause) {
    throw new StoreError("corrupt", `Blob ${id} is damaged: its description is not JSON`, {
      cause,
    });
  }
}

/** Whether the object exists: some tools leave the description of a deleted one. */
export function isThere(found: Found | null): found is Found {
  return found !== null && found.info.deleted !== true;
}

/** Whether a description matches its name, which is the digest of the bytes. */
export function isSound({ name, digest, size, nuid }: ObjectInfo, id: string): boolean {
  return name === id && digest === digestOfId(id) && Number.isSafeInteger(size) && size >= 0 &&
    typeof nuid === "string" && /^\w+$/.test(nuid);
}
