/**
 * Copies blobs from one store to another. A blob's name is its SHA-256, so an existing blob is the same,
 * copied bytes are verified, and an interrupted copy can simply be run again.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { BlobInfo, BlobStore } from "./types.ts";

/** Options of {@link copyBlobs}. */
export interface CopyBlobsOptions {
  /** Aborts the copy; blobs that have been copied stay. */
  signal?: AbortSignal;
  /** Called with the number of blobs processed so far. */
  onProgress?: (done: number) => void;
}

/** Report of a copy. */
export interface CopyBlobsReport {
  /** Number of blobs in the source. */
  count: number;
  /** Their size in bytes. */
  bytes: number;
  /** Number of blobs that were copied because the target did not have them. */
  copied: number;
}

/** Number of blobs copied concurrently. */
const TOGETHER = 4;

/**
 * Copies every blob that `to` does not have, and the holders of all blobs.
 *
 * @throws {StoreError} `corrupt`: the SHA-256 of a blob is not its id; `aborted`; the errors of both stores
 */
export function copyBlobs(
  from: BlobStore,
  to: BlobStore,
  options: CopyBlobsOptions = {},
): Promise<CopyBlobsReport> {
  return copyEach(from, (blob) => copyBlob(from, to, blob, options.signal), options);
}

/** Calls `copy`, which returns what {@link copyBlob} does, with each blob. */
export async function copyEach(
  from: BlobStore,
  copy: (blob: BlobInfo) => Promise<boolean | null>,
  { signal, onProgress }: CopyBlobsOptions,
): Promise<CopyBlobsReport> {
  const report = { count: 0, bytes: 0, copied: 0 };
  await forEachBlob(from, signal, async (blob) => {
    const copied = await copy(blob);
    if (copied === null) return;
    if (copied) report.copied++;
    report.bytes += blob.size;
    report.count++;
    onProgress?.(report.count);
  });
  return report;
}

/**
 * Copies a blob if `to` does not have it, and adds its holders.
 *
 * @returns Whether its bytes were copied; `null` if it has been removed since it was listed
 */
export async function copyBlob(
  from: BlobStore,
  to: BlobStore,
  { id, size }: BlobInfo,
  signal?: AbortSignal,
): Promise<boolean | null> {
  const holders = await from.holders(id);
  if (holders === null) return null;
  if ((await to.stat(id))?.size === size && await to.addHolders(id, holders)) return false;
  const blob = await from.get(id);
  if (blob === null) return null;
  await to.put(blob.body, { maxBytes: size, expected: id, holders, signal });
  return true;
}

/** Calls `work` with each blob, with {@link TOGETHER} at the same time. Waits for all, also if one fails. */
export async function forEachBlob(
  store: BlobStore,
  signal: AbortSignal | undefined,
  work: (blob: BlobInfo) => Promise<void>,
): Promise<void> {
  const blobs = store.list()[Symbol.asyncIterator]();
  let failed = false;
  const worker = async () => {
    try {
      while (!failed) {
        if (signal?.aborted) throw new StoreError("aborted", "Copying the blobs was aborted");
        const { done, value } = await blobs.next();
        if (done) return;
        await work(value);
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  const workers = await Promise.allSettled(Array.from({ length: TOGETHER }, worker));
  await blobs.return?.();
  for (const worker of workers) if (worker.status === "rejected") throw worker.reason;
}
