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
export async function copyBlobs(
  from: BlobStore,
  to: BlobStore,
  { signal, onProgress }: CopyBlobsOptions = {},
): Promise<CopyBlobsReport> {
  const report = { count: 0, bytes: 0, copied: 0 };
  let looked = 0;
  const copy = async ({ id, size }: BlobInfo) => {
    const holders = await from.holders(id);
    // Removed since it was listed.
    if (holders === null) return;
    const isThere = (await to.stat(id))?.size === size && await to.addHolders(id, holders);
    if (!isThere) {
      const blob = await from.get(id);
      // Removed since it was listed.
      if (blob === null) return;
      const options = { maxBytes: size, expected: id, holders, ...signal ? { signal } : {} };
      await to.put(blob.body, options);
      report.copied++;
    }
    report.count++;
    report.bytes += size;
    onProgress?.(++looked);
  };
  const blobs = from.list()[Symbol.asyncIterator]();
  let failed = false;
  const worker = async () => {
    try {
      while (!failed) {
        if (signal?.aborted) throw new StoreError("aborted", "Copying the blobs was aborted");
        const { done, value } = await blobs.next();
        if (done) return;
        await copy(value);
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  // Waits for all workers, also if one fails.
  const workers = await Promise.allSettled(Array.from({ length: TOGETHER }, worker));
  await blobs.return?.();
  for (const worker of workers) if (worker.status === "rejected") throw worker.reason;
  return report;
}
