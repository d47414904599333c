/**
 * Exports a store's records as a stream of bytes.
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

/** Options of {@link exportSnapshot}. */
export interface ExportOptions {
  /** Aborts the export: the stream fails with `aborted`. */
  signal?: AbortSignal;
}

/**
 * Exports all records of a control plane as of one point in time. Equal states give byte-identical
 * snapshots, whatever the backend.
 *
 * The store is read only as fast as chunks of about 64 KiB are consumed, from the first one on. The
 * stream fails with `corrupt` if records are invalid (the message lists them), with `aborted`, and with
 * the errors of `records()`. Canceling the stream releases the store's resources.
 *
 * @param store The store
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
    // Releases the store if no read is running; a running one is aborted by the signal.
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
  // Validated, so that every snapshot can be imported.
  const check = new StoredCheck(() => false);
  const problems = new Problems();
  let text = HEADER_LINE + "\n";
  for await (const record of store.records({ signal })) {
    if (signal?.aborted) throw aborted(signal);
    const problem = check.take(record);
    if (problem !== null) problems.add(problem);
    // After the first problem, only further problems are collected.
    if (problems.total > 0) continue;
    const line = encodeRecord(record);
    digest.add(record, line);
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
  return new StoreError("aborted", "The export was aborted", { cause: signal?.reason });
}
