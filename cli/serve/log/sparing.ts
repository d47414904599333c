/**
 * Lines of a log that anybody can cause, kept to a bounded number.
 *
 * @module
 */

import type { Fields, Log } from "./log.ts";

/** Lines of one source and reason that are written in a window. */
const MOST_LINES = 5;
/** Sources that are told apart in a window; more share one count. */
const MOST_SOURCES = 100;
const WINDOW_MS = 10_000;

/** Writes a warning, unless it is one too many: then it counts. */
export type Warn = (event: string, source: Source, fields: Fields) => void;

/** Who causes a line, and why. */
export interface Source {
  /** Its address. */
  host: string;
  /** Of few: a code. */
  reason: string;
}

/**
 * Makes a log of warnings in which each source has a few lines at a time. When the time is over, one
 * more line says how many were left out: `left_out`.
 */
export function sparing(log: Log, windowMs = WINDOW_MS): Warn {
  const sources = new Map<string, { lines: number; leftOut: number }>();
  return (event, { host, reason }, fields) => {
    const known = sources.has(`${event} ${reason} ${host}`) || sources.size < MOST_SOURCES;
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
    if (source.lines++ < MOST_LINES) log("warn", event, fields);
    else source.leftOut++;
  };
}
