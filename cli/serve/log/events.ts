/**
 * Writes events of the server's components to its log.
 *
 * @module
 */

import type { ControlPlaneEvent } from "../../../src/http/events.ts";
import type { CalloutEvent } from "../../../src/nats/types.ts";
import type { Log } from "../../terminal/log.ts";
import { often } from "./often.ts";
import { sparing } from "./sparing.ts";

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
