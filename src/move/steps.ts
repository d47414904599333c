/**
 * What both directions share: file names, timeouts, progress.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { StoreError } from "../core/errors.ts";
import { JetStreamBackend } from "../jetstream/backend.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import type { SnapshotSummary } from "../snapshot/mod.ts";
import type { MoveOptions, MovePhase, MoveReport } from "./types.ts";
import { inspectRecords, type StoredRecords } from "../core/checks/integrity.ts";
import type { Problems } from "../core/checks/problems.ts";

/** Time limit of one request, milliseconds. */
const OP_TIMEOUT = 10_000;

/** Returns the deadline of a request that starts now. */
export const soon = (): number => Date.now() + OP_TIMEOUT;

/** Returns a backend that reads a bucket's records. Closing the bucket is up to the caller. */
export function reader(bucket: Bucket): JetStreamBackend {
  const cache = { opTimeout: OP_TIMEOUT, maxStaleness: OP_TIMEOUT, maxMembers: 0 };
  return new JetStreamBackend(bucket, cache, { keepsHistory: true, end: () => Promise.resolve() });
}

/** Returns a time for a file name, to the millisecond: `20261120T081500123Z`. */
export function stamp(at: Date = new Date()): string {
  return at.toISOString().replace(/[-:.]/g, "");
}

/** Renames a file or folder, if there is one, so that a new one can take its place; returns its new name. */
export async function setAside(path: string): Promise<string | null> {
  if (!existsSync(path)) return null;
  const saved = `${path}.${stamp()}`;
  await rename(path, saved);
  return saved;
}

/** Throws `aborted` if a signal is aborted. */
export function refuseAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new StoreError("aborted", "The migration was aborted; run it again to continue", {
    cause: signal.reason,
  });
}

/** Returns a snapshot's digests in the form of the report. */
export function digestsOf(summary: SnapshotSummary): NonNullable<MoveReport["digests"]> {
  return { ...summary.digests, all: summary.digest };
}

/** Measures the phases and reports progress. */
export class Steps {
  readonly #options: MoveOptions;
  readonly #started = performance.now();
  #phase: MovePhase | null = null;
  #phaseStarted = 0;
  #reported = 0;
  readonly seconds: MoveReport["seconds"] = {
    preflight: 0,
    backup: 0,
    copy: 0,
    verify: 0,
    history: 0,
    total: 0,
  };

  constructor(options: MoveOptions) {
    this.#options = options;
  }

  /** Starts a phase of `total` records. */
  begin(phase: Exclude<MovePhase, "done">, total: number): void {
    this.check();
    this.#end();
    this.#phase = phase;
    this.#phaseStarted = performance.now();
    this.#reported = 0;
    this.#options.onProgress?.({ phase, done: 0, total });
  }

  /** The current phase. */
  get phase(): MovePhase | null {
    return this.#phase;
  }

  /** Reports that `done` records of the phase are done, at most ten times a second. */
  report(done: number, total: number): void {
    const now = performance.now();
    if (this.#phase === null || now - this.#reported < 100 && done < total) return;
    this.#reported = now;
    this.#options.onProgress?.({ phase: this.#phase, done: Math.min(done, total), total });
  }

  /** Ends the last phase. */
  finish(total: number): void {
    this.#end();
    this.seconds.total = (performance.now() - this.#started) / 1000;
    this.#options.onProgress?.({ phase: "done", done: total, total });
  }

  /** Throws `aborted` if the caller's signal is aborted. */
  check(): void {
    refuseAborted(this.#options.signal);
  }

  #end(): void {
    if (this.#phase === null || this.#phase === "done") return;
    this.seconds[this.#phase] += (performance.now() - this.#phaseStarted) / 1000;
    this.#phase = null;
  }
}

/**
 * Checks that all records are valid.
 *
 * @throws {StoreError} `refused`, with a list of the invalid ones
 */
export async function requireValid(
  stored: StoredRecords,
  from: string,
  total: number,
  steps: Steps,
): Promise<void> {
  const onProgress = (done: number) => {
    steps.check();
    steps.report(done, total);
  };
  refuseInvalid((await inspectRecords(stored, onProgress)).problems, from);
}

/** Throws `refused` with a list of the problems, if there are any. */
export function refuseInvalid(problems: Problems, from: string): void {
  if (problems.total > 0) {
    throw problems.error("refused", `Migrating ${from}: nothing was migrated`);
  }
}
