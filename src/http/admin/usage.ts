/**
 * Storage used by blobs: counted on request, and then kept for a while.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { BlobStore } from "../../blobs/types.ts";
import type { Usage } from "../../core/operations.ts";
import { within } from "../../core/async/wait.ts";

/** A count is kept for this many milliseconds, */
const GOOD_FOR_MS = 60_000;
/** and at least this many times as long as it took, so counting takes at most a twentieth of the time. */
const REST = 20;
/** How long a request waits for the first count, milliseconds. */
const PATIENCE_MS = 8_000;

/** Makes the count. */
export function usageOf(
  blobs: Pick<BlobStore, "list"> | null,
  now: () => Date,
): () => Promise<Usage> {
  let last: { until: number; answer: Usage } | null = null;
  let counting: Promise<Usage> | null = null;

  async function count(store: Pick<BlobStore, "list">): Promise<Usage> {
    const began = performance.now();
    const found = { count: 0, bytes: 0 };
    for await (const { size } of store.list()) {
      found.count++;
      found.bytes += size;
    }
    const answer = { blobs: { ...found, at: now().toISOString() } };
    const ended = performance.now();
    last = { until: ended + Math.max(GOOD_FOR_MS, REST * (ended - began)), answer };
    return answer;
  }

  return async () => {
    if (blobs === null) return { blobs: null };
    if (last !== null && performance.now() < last.until) return last.answer;
    counting ??= count(blobs).finally(() => counting = null);
    // An earlier count is better than a long wait.
    const answer = await within(last === null ? PATIENCE_MS : 500, counting, () => null);
    if (answer !== null) return answer;
    if (last !== null) return last.answer;
    throw new StoreError("unavailable", "Blobs are still being counted; retry later");
  };
}
