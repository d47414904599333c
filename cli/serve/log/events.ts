/**
 * What the parts of the server tell, as events of its log.
 *
 * @module
 */

import type { ControlPlaneEvent } from "../../../src/http/events.ts";
import type { CalloutEvent } from "../../../src/nats/types.ts";
import type { Log } from "./log.ts";
import { often } from "./often.ts";
import { sparing } from "./sparing.ts";

/** Writes what the control plane tells. */
export function httpEvents(log: Log): (event: ControlPlaneEvent) => void {
  const warn = sparing(log);
  const unavailable = often(log, "error", "http.failed");
  return ({ level, event, ...fields }) => {
    if (event === "refused" || event === "would_refuse") {
      const source = { host: String(fields.address), reason: String(fields.code) };
      return warn(`http.${event}`, source, fields);
    }
    // Each is an answer of 503 while the store is away; a fault of ours is told each time.
    if (event === "failed" && fields.code === "unavailable") return unavailable(fields);
    // Commands write the same line.
    log(level, event === "audit" ? event : `http.${event}`, fields);
  };
}

/** Writes what the auth callout tells. */
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
