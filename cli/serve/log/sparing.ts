/**
 * Limits log lines that unauthenticated clients can cause.
 *
 * @module
 */

import type { Fields, Log } from "../../terminal/log.ts";

/** Maximum number of lines per source and reason in a window. */
const MAX_LINES = 5;
/** Maximum number of sources counted separately in a window; others share one count. */
const MAX_SOURCES = 100;
const WINDOW_MS = 10_000;

/** Logs a warning, or only counts it above the limit. */
export type Warn = (event: string, source: Source, fields: Fields) => void;

/** The cause of a line. */
export interface Source {
  /** Its address. */
  host: string;
  /** A code, from a small set. */
  reason: string;
}

/**
 * Creates a logger of warnings that limits the lines per source in a time window. At the end of a
 * window, one more line reports the number of omitted ones: `left_out`.
 */
export function sparing(log: Log, windowMs = WINDOW_MS): Warn {
  const sources = new Map<string, { lines: number; leftOut: number }>();
  return (event, { host, reason }, fields) => {
    const known = sources.has(`${event} ${reason} ${host}`) || sources.size < MAX_SOURCES;
    const key = `${event} ${reason} ${known ? host : ""}`;
    let source = sources.get(key);
    if (source === undefined) {
      const begun = source = { lines: 0, leftOut: 0 };
      sources.set(key, source);
      setTimeout(() => {
        sources.delete(key);
        const from = known ? { host } : {};
        if (begun.leftOut > 0) log("warn", event, { reason, ...from, left_out: begun.leftOut });
      }, windowMs).unref();
    }
    if (source.lines++ < MAX_LINES) log("warn", event, fields);
    else source.leftOut++;
  };
}
