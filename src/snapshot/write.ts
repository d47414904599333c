/**
 * Snapshots out: a store's records as a stream of bytes.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { streamOf } from "../core/async/stream.ts";
import { StoredCheck } from "../core/checks/integrity.ts";
import { Problems } from "../core/checks/problems.ts";
import type { Store } from "../core/store.ts";
import {
  CHUNK_LENGTH,
  encodeRecord,
  encodeTrailer,
  HEADER_LINE,
  SnapshotDigest,
} from "./format.ts";

/** How {@link exportSnapshot} goes about it. */
export interface ExportOptions {
  /** Ends the export: the stream fails with `aborted`. */
  signal?: AbortSignal;
}

/**
 * The whole control plane as a snapshot, as of one point in time. Equal states give byte-equal
 * snapshots, whatever the backend.
 *
 * Nothing is read before the first chunk is asked for, and only as fast as chunks (of about 64 KiB)
 * are taken. The stream fails with `corrupt` when records are invalid (the message lists them), with
 * `aborted`, and as `records()` does. Canceling the stream frees what the store holds for it.
 *
 * @param store Where the records come from
 * @param options A signal
 *
 * @example
 * ```ts
 * import { exportSnapshot, openSqlite } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * const text = await new Response(exportSnapshot(store)).text();
 * if (text.split("\n").length !== 3) throw new Error("an empty store gives header and trailer");
 * ```
 */
export function exportSnapshot(
  store: Pick<Store, "records">,
  options: ExportOptions = {},
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const { signal } = options;
  return streamOf(() => chunksOf(store, signal), (end) => {
    // Also when nobody asks for more; a read under way ends by the signal it was given.
    const onAbort = () => void end(aborted(signal)).catch(() => {});
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    return () => signal?.removeEventListener("abort", onAbort);
  });
}

async function* chunksOf(
  store: Pick<Store, "records">,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const encoder = new TextEncoder();
  const digest = new SnapshotDigest();
  // A snapshot that cannot be read back is worth nothing, and is better not written.
  const check = new StoredCheck(() => false);
  const problems = new Problems();
  let text = HEADER_LINE + "\n";
  for await (const it of store.records({ signal })) {
    if (signal?.aborted) throw aborted(signal);
    const problem = check.take(it);
    if (problem !== null) problems.add(problem);
    // From the first one on, all that is left to do is to name the others.
    if (problems.total > 0) continue;
    const line = encodeRecord(it);
    digest.add(it, line);
    text += line + "\n";
    if (text.length >= CHUNK_LENGTH) {
      yield encoder.encode(text);
      text = "";
    }
  }
  for (const problem of check.end()) problems.add(problem);
  if (problems.total > 0) throw problems.error("corrupt", "Exporting a snapshot");
  yield encoder.encode(text + encodeTrailer(digest.summary()) + "\n");
}

function aborted(signal: AbortSignal | undefined): StoreError {
  return new StoreError("aborted", "The export was ended by its signal", { cause: signal?.reason });
}
