/**
 * Copying blobs from one store to another. A blob's name is its SHA-256, so what is there already is
 * the same, what is copied is checked on the way in, and a copy that was ended is simply begun again.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { BlobInfo, BlobStore } from "./types.ts";

/** What {@link copyBlobs} takes besides the stores. */
export interface CopyBlobsOptions {
  /** Ends it; what has been copied stays. */
  signal?: AbortSignal;
  /** Called with how many blobs have been looked at. */
  onProgress?: (done: number) => void;
}

/** What was done. */
export interface CopyBlobsReport {
  /** Blobs there are. */
  count: number;
  /** Their bytes. */
  bytes: number;
  /** Blobs that were not in the target yet. */
  copied: number;
}

/** Blobs under way at once. */
const TOGETHER = 4;

/**
 * Copies every blob of `from` that `to` has not, and who put each.
 *
 * @throws {StoreError} `corrupt` when a blob has not the SHA-256 that its id says, `aborted`, and what
 * either store rejects with
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
        if (signal?.aborted) throw new StoreError("aborted", "Copying the blobs was ended");
        const { done, value } = await blobs.next();
        if (done) return;
        await copy(value);
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  // Nothing is under way any more when it ends.
  const workers = await Promise.allSettled(Array.from({ length: TOGETHER }, worker));
  await blobs.return?.();
  for (const it of workers) if (it.status === "rejected") throw it.reason;
  return report;
}
