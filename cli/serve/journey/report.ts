/**
 * How a journey is shown to admins.
 *
 * @module
 */

import type { HealthCheck } from "../../../src/core/model.ts";
import type { Journey } from "../../../src/core/operations.ts";
import { counted } from "../../../src/core/text/counted.ts";
import type { JourneyState } from "../../cluster/journey.ts";

/** Converts the state of the control channel; null if there was no journey. */
export function reportOf(status: JourneyState | null): Journey | null {
  if (status === null || status.direction === null || status.state === "none") return null;
  const { direction, state, phase, done, total, lag, pause, error, retry } = status;
  return { direction, state, phase, done, total, lag, pause, reason: error?.message ?? retry };
}

/** A line among the checks while a journey is not over: the server works meanwhile. */
export function checkJourney(journey: Journey | null): HealthCheck[] {
  if (journey === null || journey.state === "done" || journey.state === "called-off") return [];
  const { direction, state, phase, done, total, lag, reason } = journey;
  const of = total ? `, ${done} of ${total}` : "";
  const behind = lag === null ? "" : `, ${counted(lag, "change")} behind`;
  const step = state === "running" ? `: ${phase}${of}${behind}` : "";
  const why = reason === null ? "" : `; ${reason}`;
  return [{ name: "journey", ok: true, detail: `${direction} ${state}${step}${why}` }];
}
