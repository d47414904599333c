/**
 * What both directions share: names of files, times, progress.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { JetStreamBackend } from "../jetstream/backend.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import type { SnapshotSummary } from "../snapshot/mod.ts";
import type { MoveOptions, MovePhase, MoveReport } from "./types.ts";

/** How long one request of a move may take, milliseconds. */
const OP_TIMEOUT = 10_000;

/** The deadline of a request that begins now. */
export const soon = (): number => Date.now() + OP_TIMEOUT;

/** Reads a bucket's records; whoever opened the bucket closes it. */
export function reader(bucket: Bucket): JetStreamBackend {
  const cache = { opTimeout: OP_TIMEOUT, maxStaleness: OP_TIMEOUT, maxMembers: 0 };
  return new JetStreamBackend(bucket, cache, () => Promise.resolve());
}

/** A moment as part of a file name, to the millisecond: `20261120T081500123Z`. */
export function stamp(at: Date = new Date()): string {
  return at.toISOString().replace(/[-:.]/g, "");
}

/** The report's form of a snapshot's digests. */
export function digestsOf(summary: SnapshotSummary): NonNullable<MoveReport["digests"]> {
  return { ...summary.digests, all: summary.digest };
}

/** Keeps time and tells the caller how far the move is. */
export class Steps {
  readonly #options: MoveOptions;
  readonly #begun = performance.now();
  #phase: MovePhase | null = null;
  #phaseBegun = 0;
  #told = 0;
  readonly seconds: MoveReport["seconds"] = {
    preflight: 0,
    backup: 0,
    copy: 0,
    verify: 0,
    total: 0,
  };

  constructor(options: MoveOptions) {
    this.#options = options;
  }

  /** Begins a phase of `total` records. */
  begin(phase: Exclude<MovePhase, "done">, total: number): void {
    this.check();
    this.#end();
    this.#phase = phase;
    this.#phaseBegun = performance.now();
    this.#told = 0;
    this.#options.onProgress?.({ phase, done: 0, total });
  }

  /** The phase under way. */
  get phase(): MovePhase | null {
    return this.#phase;
  }

  /** Says that `done` of the phase's records are done, ten times a second at most. */
  tell(done: number, total: number): void {
    const now = performance.now();
    if (this.#phase === null || now - this.#told < 100 && done < total) return;
    this.#told = now;
    this.#options.onProgress?.({ phase: this.#phase, done: Math.min(done, total), total });
  }

  /** Ends the last phase. */
  finish(total: number): void {
    this.#end();
    this.seconds.total = (performance.now() - this.#begun) / 1000;
    this.#options.onProgress?.({ phase: "done", done: total, total });
  }

  /** Throws when the caller wants to end. */
  check(): void {
    const { signal } = this.#options;
    if (signal?.aborted) {
      throw new StoreError("aborted", "The move was aborted; run it again to continue", {
        cause: signal.reason,
      });
    }
  }

  #end(): void {
    if (this.#phase === null || this.#phase === "done") return;
    this.seconds[this.#phase] += (performance.now() - this.#phaseBegun) / 1000;
    this.#phase = null;
  }
}
