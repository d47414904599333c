/**
 * Exports a store's records as a stream of bytes.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import { streamOf } from "../core/async/stream.ts";
import { StoredCheck } from "../core/checks/integrity.ts";
import { Problems } from "../core/checks/problems.ts";
import { compareRevisions, parseRevision, type Revision } from "../core/history/revision.ts";
import type { HistoryEntry } from "../core/history/entry.ts";
import type { HistorySource } from "../core/history/source.ts";
import { findSwitch } from "../core/store/switching.ts";
import type { Store } from "../core/store.ts";
import {
  CHUNK_LENGTH,
  encodeRecord,
  encodeTrailer,
  HEADER_LINES,
  SNAPSHOT_VERSION,
  SnapshotDigest,
} from "./format.ts";
import { encodeEntry, encodeStart, HistoryDigest } from "./history.ts";

/** Options of {@link exportSnapshot}. */
export interface ExportOptions {
  /** Exports the history too, if the store keeps one and it has entries. Default `true`. */
  history?: boolean;
  /** Called with the number of records exported so far. */
  onProgress?: (done: number) => void;
  /** Aborts the export: the stream fails with `aborted`. */
  signal?: AbortSignal;
}

/**
 * Exports all records of a control plane as of one point in time, and its history up to there. Equal
 * states with equal histories give byte-identical snapshots, whatever the backend; with `history: false`
 * equal states do.
 *
 * The store is read only as fast as chunks of about 64 KiB are consumed, from the first one on. The
 * stream fails with `corrupt` if records are invalid (the message lists them), with `aborted`, and with
 * the errors of `records()`. Canceling the stream releases the store's resources.
 *
 * @param store The store
 * @param options Whether with the history, progress and a signal
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
  const { history = true, signal } = options;
  const source = history ? findSwitch(store)?.history ?? null : null;
  return streamOf(() => chunksOf(store, source, options), (end) => {
    // Releases the store if no read is running; a running one is aborted by the signal.
    const onAbort = () => void end(aborted(signal)).catch(() => {});
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    return () => signal?.removeEventListener("abort", onAbort);
  });
}

async function* chunksOf(
  store: Pick<Store, "records">,
  history: HistorySource | null,
  { signal, onProgress }: ExportOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const digest = new SnapshotDigest();
  // Validated, so that every snapshot can be imported.
  const check = new StoredCheck(() => false);
  const problems = new Problems();
  const isWith = history !== null && await hasEntries(history);
  const text = new Chunks(isWith ? createHash("sha256") : null);
  let upTo: Revision | null | undefined;
  let done = 0;
  text.add(HEADER_LINES[isWith ? 1 : 0]);
  const records = store.records({
    ...signal && { signal },
    ...isWith && {
      onRevision: (revision: string | null) => {
        upTo = revision === null ? null : parseRevision("revision", revision);
      },
    },
  });
  for await (const record of records) {
    if (signal?.aborted) throw aborted(signal);
    const problem = check.take(record);
    if (problem !== null) problems.add(problem);
    // After the first problem, only further problems are collected.
    if (problems.total > 0) continue;
    const line = encodeRecord(record);
    digest.add(record, line);
    text.add(line);
    if (++done % 1000 === 0) onProgress?.(done);
    if (text.isFull) yield text.take();
  }
  for (const problem of check.end()) problems.add(problem);
  if (problems.total > 0) throw problems.error("corrupt", "Exporting a snapshot");
  onProgress?.(done);
  const summary = digest.summary();
  if (isWith) {
    const start = await history.start();
    const entries = new HistoryDigest(start);
    text.add(encodeStart(start));
    for await (const { entry } of history.walk(null, signal)) {
      if (upTo !== undefined && isAfter(entry, upTo)) break;
      const line = encodeEntry(entry);
      entries.add(entry, line);
      text.add(line);
      if (text.isFull) yield text.take();
    }
    if (signal?.aborted) throw aborted(signal);
    summary.version = SNAPSHOT_VERSION;
    summary.history = entries.summary();
  }
  text.add(encodeTrailer(summary, text.digest()));
  yield text.take();
}

async function hasEntries(history: HistorySource): Promise<boolean> {
  for await (const _ of history.walk(null)) return true;
  return false;
}

function isAfter({ revision }: HistoryEntry, upTo: Revision | null): boolean {
  return upTo === null || compareRevisions(parseRevision("revision", revision), upTo) > 0;
}

/** Collects lines, and hashes them if it is given a hash. */
class Chunks {
  readonly #encoder = new TextEncoder();
  readonly #hash: Hash | null;
  #text = "";
  #hashed = 0;

  constructor(hash: Hash | null) {
    this.#hash = hash;
  }

  /** Adds a line. */
  add(line: string): void {
    this.#text += line + "\n";
  }

  /** Whether there is enough for a chunk. */
  get isFull(): boolean {
    return this.#text.length >= CHUNK_LENGTH;
  }

  /** Returns what was added since the last time. */
  take(): Uint8Array<ArrayBuffer> {
    this.digest();
    const bytes = this.#encoder.encode(this.#text);
    this.#text = "";
    this.#hashed = 0;
    return bytes;
  }

  /** Returns the digest of all lines. */
  digest(): string {
    if (this.#hash === null) return "";
    this.#hash.update(this.#text.slice(this.#hashed));
    this.#hashed = this.#text.length;
    return this.#hash.copy().digest("hex");
  }
}

function aborted(signal: AbortSignal | undefined): StoreError {
  return new StoreError("aborted", "The export was aborted", { cause: signal?.reason });
}
