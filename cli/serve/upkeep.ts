/**
 * Periodic maintenance: removes invites that ended long ago, and the oldest entries of the history.
 *
 * @module
 */

import type { Store } from "../../src/core/store.ts";
import { pruneSteps } from "./history/prune.ts";
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
  opened: Pick<Store, "as">,
): void {
  const store = opened.as("server");
  let pruned = "";
  const both = () => Promise.all([pruneInvites(), pruneHistory()]);
  let round = both();
  const timer = setInterval(() => round = round.then(both), INTERVAL_MS);
  undo.add("upkeep", () => {
    clearInterval(timer);
    return round;
  });

  async function pruneInvites(): Promise<void> {
    const before = new Date(Date.now() - settings.keepInvites * DAY_MS).toISOString();
    try {
      const removed = await store.pruneInvites(before);
      if (removed > 0) log("info", "invites.pruned", { removed, before });
    } catch (error) {
      log("warn", "invites.prune_failed", { reason: error });
    }
  }

  /** Once a day. The time ends with a day, so that the other nodes find nothing to remove. */
  async function pruneHistory(): Promise<void> {
    const today = new Date().toISOString().slice(0, 10);
    if (!settings.history || today === pruned) return;
    const before = new Date(Date.parse(today) - settings.historyDays * DAY_MS).toISOString();
    const { historyRows: keep } = settings;
    try {
      const removed = await pruneSteps(store, { before, ...keep === null ? {} : { keep } });
      pruned = today;
      if (removed > 0) log("info", "history.pruned", { removed, before });
    } catch (error) {
      log("warn", "history.prune_failed", { reason: error });
    }
  }
}
