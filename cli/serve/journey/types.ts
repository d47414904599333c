/**
 * What a journey works with.
 *
 * @module
 */

import type { JourneyPhase, JourneyRequest } from "../../cluster/journey.ts";
import type { NodeState } from "../../settings/node.ts";
import type { Bus } from "../bus.ts";
import type { OtherSettings } from "../managed.ts";
import type { Surroundings } from "../parts.ts";
import type { Storage } from "../storage/types.ts";

/** The running server. */
export interface World {
  /** Its surroundings. */
  readonly around: Surroundings;
  /** The connected bus. */
  readonly bus: Bus;
  /** Where it keeps what it serves. */
  readonly storage: Storage;
  /** Returns the settings that the node file gives the server in a state. */
  settingsIn(state: NodeState): Promise<OtherSettings>;
}

/** A journey in progress. */
export interface Trip {
  /** What was asked for. */
  readonly request: JourneyRequest;
  /** Aborted when it is to end early; the reason is `call-off` or `stop`. */
  readonly signal: AbortSignal;
  /** Says what it does now. */
  begin(phase: JourneyPhase, total?: number | null): void;
  /** Says how far the phase is, and other numbers. */
  tell(now: Partial<Numbers>): void;
  /** Adds a sentence about what the preflight found. */
  find(text: string): void;
  /** Resolves when the switch may begin: at once, unless it was asked to wait for a word. */
  released(): Promise<void>;
}

/** The numbers of a journey. */
export interface Numbers {
  /** Records, blobs or replicas done in this phase. */
  done: number;
  /** Number of all. */
  total: number | null;
  /** Changes that are still to be copied. */
  lag: number | null;
  /** Milliseconds for which writes waited at the switch. */
  pause: number | null;
  /** Why the switch was called off the last time, or is not made yet. */
  retry: string | null;
}
