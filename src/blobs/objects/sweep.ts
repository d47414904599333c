/**
 * Removes chunks that belong to no object: a killed writer left them, and no reader sees them.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { ObjectInfo } from "./format.ts";
import { listMessages, type ListOptions } from "./list.ts";
import type { ObjectStream } from "./stream.ts";

/** An object whose last chunk is older than this has no writer. */
const ABANDONED_MS = 24 * 3600 * 1000;

/**
 * Removes the chunks of objects that have no description and got no chunk for a day.
 *
 * @throws {StoreError} `unavailable`: the replica that answers is behind the leader, so it cannot say what
 * belongs to no object
 */
export async function sweepChunks(
  stream: ObjectStream,
  { opTimeout, check }: ListOptions,
  now = Date.now(),
): Promise<void> {
  const { subjects } = stream;
  const deadline = () => Date.now() + opTimeout;
  for (let offset = 0;;) {
    const { counts, total } = await stream.counts(subjects.chunks, deadline(), offset);
    offset += counts.size;
    const unknown = new Set([...counts.keys()].map((it) => subjects.nuidOf(it)));
    // The descriptions after the chunks: what was finished in between is found.
    for await (const { data } of listMessages(stream, 1, { opTimeout, check })) {
      unknown.delete(nuidIn(data));
    }
    for (const nuid of unknown) {
      check();
      const subject = subjects.chunksOf(nuid);
      const last = await stream.read({ last_by_subj: subject }, deadline());
      if (last?.time === undefined || now - Date.parse(last.time) < ABANDONED_MS) continue;
      await stream.purge(subject, deadline());
    }
    if (counts.size === 0 || offset >= total) return;
  }
}

function nuidIn(description: Uint8Array): string {
  try {
    const { nuid, deleted } = JSON.parse(Buffer.from(description).toString("utf8")) as ObjectInfo;
    return deleted === true ? "" : nuid;
  } catch {
    return "";
  }
}
