/**
 * Detects whether a nats-server syncs writes to disk before it acknowledges them, which only its
 * monitoring port reports.
 *
 * @module
 */

/** `always`, `never` (every two minutes or so), or `unknown` (no monitoring port, or no answer). */
export type FsyncState = "always" | "never" | "unknown";

/** Queries the monitoring port. */
export async function fsyncState(monitorUrl: string | undefined): Promise<FsyncState> {
  if (monitorUrl === undefined) return "unknown";
  try {
    const answer = await fetch(new URL("/varz", monitorUrl), {
      signal: AbortSignal.timeout(2000),
    });
    const { jetstream } = await answer.json() as {
      jetstream?: { config?: { sync_always?: boolean } };
    };
    if (jetstream?.config === undefined) return "unknown";
    return jetstream.config.sync_always === true ? "always" : "never";
  } catch {
    return "unknown";
  }
}
