/**
 * Options and results of a move while the control plane serves.
 *
 * @module
 */

import type { Counts, Kind } from "../../core/model.ts";
import type { Store } from "../../core/store.ts";

/** A step of {@link growStore}. */
export type GrowPhase = "check" | "copy" | "verify" | "ready" | "switch" | "settle" | "done";

/** Progress of {@link growStore}. */
export interface GrowProgress {
  /** The current step. With `settle` the outcome of a switch is not known yet, and writes wait. */
  phase: GrowPhase;
  /** Records copied or compared in this step. */
  done: number;
  /** Number of records of the file when the move began. */
  total: number;
  /** Changes that are noted and not copied yet. */
  lag: number;
  /** Attempts to switch so far. */
  attempts: number;
  /** Why the last attempt was called off, or why all is compared again; `null` for neither. */
  reason: string | null;
}

/** Options of {@link growStore}. */
export interface GrowOptions {
  /**
   * The bucket, opened by `openJetStream` with `allowInProgress`. If the move completes, `store` takes over
   * its connection, and closing it does nothing.
   */
  target: Store;
  /** Share of the time spent copying, above 0 to 1. Default 0.5. */
  pace?: number;
  /** Called once when everything is copied and verified; the switch waits for it. */
  hold?: () => Promise<unknown>;
  /** Called before each attempt to switch, which waits for it; if it rejects, the move is interrupted. */
  ready?: () => Promise<unknown>;
  /** Moves the history too, and adds an entry that tells of the move. Default `true`. */
  history?: boolean;
  /** Who moves it, for the history. Default `library`. */
  by?: string;
  /** Only checks whether the move is possible, and writes nothing. */
  dryRun?: boolean;
  /** Interrupts the move before the switch. Call {@link growStore} again to continue. */
  signal?: AbortSignal;
  /** Called with the progress. */
  onProgress?: (progress: GrowProgress) => void;
}

/** Report of {@link growStore}. */
export interface GrowReport {
  /** Version of this report's format. */
  version: 1;
  /** Whether nothing was written. */
  dryRun: boolean;
  /** Path of the SQLite file. */
  db: string;
  /** Name of the bucket. */
  bucket: string;
  /** Identifies the move; `null` for a dry run. */
  journey: string | null;
  /** The generation of the control plane after the move. */
  generation: number;
  /** Number of records of each kind when they were verified. */
  counts: Counts;
  /** SHA-256 of the records of each kind and of all when they were verified; `null` for a dry run. */
  digests: Record<Kind | "all", string> | null;
  /** Number of entries written to the bucket. */
  written: number;
  /** Number of entries of the history written to its archive; `null` if it is not moved. */
  history: number | null;
  /** Number of attempts to switch. */
  attempts: number;
  /** How long writes waited in the last one, in milliseconds. */
  pause: number;
  /** Whether the file records that it has moved. If not, the next start does it. */
  noted: boolean;
  /** Duration in seconds. */
  seconds: number;
}
