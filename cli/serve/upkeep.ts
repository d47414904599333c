/**
 * Periodic maintenance: removes invites that ended long ago.
 *
 * @module
 */

import type { Store } from "../../src/core/store.ts";
import type { Log } from "../terminal/log.ts";
import type { Settings } from "../settings/settings.ts";
import type { Undo } from "./undo.ts";

const DAY_MS = 24 * 3600 * 1000;
/**
 * Interval in milliseconds. Each node of a cluster does it; the second one finds nothing to remove.
 */
const INTERVAL_MS = 3600 * 1000;

/** Starts the maintenance and runs it once. */
export function startUpkeep(
  { settings, log, undo }: { settings: Settings; log: Log; undo: Undo },
  store: Pick<Store, "pruneInvites">,
): void {
  let round = prune();
  const timer = setInterval(() => round = round.then(prune), INTERVAL_MS);
  undo.add("upkeep", () => {
    clearInterval(timer);
    return round;
  });

  async function prune(): Promise<void> {
    const before = new Date(Date.now() - settings.keepInvites * DAY_MS).toISOString();
    try {
      const removed = await store.pruneInvites(before);
      if (removed > 0) log("info", "invites.pruned", { removed, before });
    } catch (error) {
      log("warn", "invites.prune_failed", { reason: error });
    }
  }
}
