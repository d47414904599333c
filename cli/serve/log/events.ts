/**
 * Writes events of the server's components to its log. Limits its lines: of frequent events, such as when
 * all clients reconnect, and those that unauthenticated clients can cause.
 *
 * @module
 */

import type { ControlPlaneEvent } from "../../../src/http/events.ts";
import type { CalloutEvent } from "../../../src/nats/types.ts";
import type { Fields, Level, Log } from "../../terminal/log.ts";

/** Creates a listener that logs events of the control plane. */
export function httpEvents(log: Log): (event: ControlPlaneEvent) => void {
  const warn = sparing(log);
  const unavailable = often(log, "error", "http.failed");
  return ({ level, event, ...fields }) => {
    if (event === "refused" || event === "would_refuse") {
      const source = { host: String(fields.address), reason: String(fields.code) };
      return warn(`http.${event}`, source, fields);
    }
    // These are 503 responses while the store is unavailable; internal errors are logged every
    // time.
    if (event === "failed" && fields.code === "unavailable") return unavailable(fields);
    // Commands write the same audit line.
    log(level, event === "audit" ? event : `http.${event}`, fields);
  };
}

/** Creates a listener that logs events of the auth callout. */
export function calloutEvents(log: Log): (event: CalloutEvent) => void {
  const warn = sparing(log);
  const admitted = often(log, "info", "bus.admitted");
  return (event) => {
    switch (event.kind) {
      case "admitted": {
        const { endpoint, rooms, client: { host, name } } = event;
        return admitted({ endpoint, rooms, host, name });
      }
      case "refused":
      case "would_refuse": {
        const { kind, reason, detail, client: { endpoint, host, name } } = event;
        return warn(`bus.${kind}`, { host, reason }, { reason, detail, endpoint, host, name });
      }
      case "trouble":
        return log("error", "bus.trouble", { detail: event.detail, reason: event.error });
      case "kicked":
        return log("info", "bus.kicked", { ...event, kind: undefined });
      case "overloaded":
      case "rooms_left_out":
      case "subject_withheld":
        return log("warn", `bus.${event.kind}`, { ...event, kind: undefined });
    }
  };
}

/** Time in milliseconds during which repeated events are only counted. */
const PERIOD_MS = 10_000;

/**
 * Creates a logger of an event: logs the first occurrence in full, then the number of further ones
 * once per period. At level `debug`, all are logged.
 */
export function often(
  log: Log,
  level: Level,
  event: string,
  period: number = PERIOD_MS,
): (fields: Fields) => void {
  let more = 0;
  let isQuiet = true;
  const look = () => {
    if (more === 0) return void (isQuiet = true);
    log(level, event, { more, seconds: period / 1000 });
    more = 0;
    wait();
  };
  const wait = () => void setTimeout(look, period).unref?.();
  return (fields) => {
    if (!isQuiet) {
      more++;
      return log("debug", event, fields);
    }
    isQuiet = false;
    log(level, event, fields);
    wait();
  };
}

/** Maximum number of lines per source and reason in a window. */
const MAX_LINES = 5;
/** Maximum number of sources counted separately in a window; others share one count. */
const MAX_SOURCES = 100;
const WINDOW_MS = 10_000;

/** Logs a warning, or only counts it above the limit. */
type Warn = (event: string, source: Source, fields: Fields) => void;

/** The cause of a line. */
interface Source {
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
