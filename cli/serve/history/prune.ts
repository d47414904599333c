/**
 * Prunes the history in as many steps as it needs.
 *
 * @module
 */

import { PRUNE_LIMIT } from "../../../src/core/backend.ts";
import type { HistoryPruning, Store } from "../../../src/core/store.ts";

/** Removes the oldest entries; returns how many. */
export async function pruneSteps(
  store: Pick<Store, "pruneHistory">,
  which: HistoryPruning,
): Promise<number> {
  let all = 0;
  for (;;) {
    const removed = await store.pruneHistory(which);
    all += removed;
    // A step removes at most so many. The entry that it adds may be one too many already.
    if (removed < PRUNE_LIMIT) return all;
  }
}
