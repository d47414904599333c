/**
 * What the parts of the server tell, as events of its log.
 *
 * @module
 */

import type { ControlPlaneEvent } from "../../src/http/events.ts";
import type { CalloutEvent } from "../../src/nats/types.ts";
import type { Log } from "./log.ts";
import { sparing } from "./sparing.ts";

/** Writes what the control plane tells. */
export function httpEvents(log: Log): (event: ControlPlaneEvent) => void {
  const warn = sparing(log);
  return ({ level, event, ...fields }) => {
    if (event !== "refused" && event !== "would_refuse") {
      return log(level, `http.${event}`, fields);
    }
    const source = { host: String(fields.address), reason: String(fields.code) };
    warn(`http.${event}`, source, fields);
  };
}

/** Writes what the auth callout tells. */
export function calloutEvents(log: Log): (event: CalloutEvent) => void {
  const warn = sparing(log);
  return (event) => {
    switch (event.kind) {
      case "admitted": {
        const { endpoint, rooms, client: { host, name } } = event;
        return log("info", "bus.admitted", { endpoint, rooms, host, name });
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
