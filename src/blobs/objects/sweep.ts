/**
 * Removes chunks that belong to no object: a killed writer left them, and no reader sees them.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { ObjectInfo } from "./format.ts";
import type { ObjectStream } from "./stream.ts";

/** An object whose last chunk is older than this has no writer. */
const ABANDONED_MS = 24 * 3600 * 1000;
const BATCH = 500;

/** Options of {@link sweepChunks}. */
export interface SweepOptions {
  /** Timeout of a request, milliseconds. */
  opTimeout: number;
  /** Throws to end it. */
  check: () => void;
  /** The time now, milliseconds. */
  now?: number;
}

/** Removes the chunks of objects that have no description and to which nobody has added for a day. */
export async function sweepChunks(stream: ObjectStream, options: SweepOptions): Promise<void> {
  const { opTimeout, check, now = Date.now() } = options;
  const { subjects } = stream;
  const deadline = () => Date.now() + opTimeout;
  for (let offset = 0;;) {
    const { counts, total } = await stream.counts(subjects.chunks, deadline(), offset);
    offset += counts.size;
    const unknown = new Set([...counts.keys()].map((it) => subjects.nuidOf(it)));
    // The descriptions after the chunks: what was finished in between is found.
    const newest = await stream.read({ last_by_subj: subjects.metas }, deadline());
    for (let sequence = 1; sequence <= (newest?.sequence ?? 0);) {
      check();
      const found = await stream.readBatch(subjects.metas, sequence, BATCH, deadline());
      // A replica that is behind the leader: it cannot say what belongs to nobody.
      if (found.length === 0) return;
      for (const { data } of found) unknown.delete(nuidIn(data));
      sequence = found.at(-1)!.sequence + 1;
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
