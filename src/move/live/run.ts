/**
 * One run of a live move into a bucket: what it writes, and how it reports.
 *
 * @module
 */

import { pause } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";
import { BATCH_LIMIT, type Bucket, type Write } from "../../jetstream/log/bucket.ts";
import { guardOf, takenOver } from "../../jetstream/log/marker.ts";
import { whenStuck } from "../../jetstream/log/stuck.ts";
import { WrongRevision } from "../../jetstream/log/wire.ts";
import type { ArchiveCopy } from "../history/to_archive.ts";
import type { JourneyFile } from "../../sqlite/file/journey/file.ts";
import type { Journey } from "../../sqlite/file/journey/journey.ts";
import { refuseAborted, soon } from "../steps.ts";
import { differentIn, type Entries, type Wanted, wantedOf } from "./entries.ts";
import { OwnWrites } from "./foreign.ts";
import type { Claim } from "../claim.ts";
import { writtenElsewhere, writtenOften } from "./mark.ts";
import type { GrowOptions, GrowPhase } from "./types.ts";

/** Time limit of a batch, milliseconds. */
const BATCH_MS = 120_000;
/** Changes copied at once: with two keys each they are one batch. */
const ROUND = 400;
/** The longest pause after a batch, milliseconds. */
const LONGEST_PAUSE = 250;
/** How often others may write to the bucket, each time less than so many milliseconds after the last. */
const FOREIGN = { most: 20, apart: 60_000 };

/** A run of a live move. */
export class Run {
  readonly bucket: Bucket;
  readonly file: JourneyFile;
  /** The move, as this run owns it. */
  journey: Journey;
  /** The mark of this run. */
  claim: Claim;
  /** Number of records when it began. */
  readonly total: number;
  /** The copy of the history; `null` if it is not moved. */
  readonly history: ArchiveCopy | null;
  /** Number of entries written. */
  written = 0;
  attempts = 0;
  /** What it knows of others that write to the bucket. */
  readonly own: OwnWrites;
  reason: string | null = null;
  /** The keys of admins in the bucket's index. */
  readonly #admins: Set<string>;
  /** How often others were found to write to the bucket, and when last. */
  readonly #foreign = { count: 0, at: 0 };
  #phase: GrowPhase = "check";
  #done = 0;
  #reported = 0;
  readonly #options: GrowOptions;
  readonly #pace: number;

  constructor(
    { bucket, file, journey, claim, total, history, admins }:
      & Pick<Run, "bucket" | "file" | "journey" | "claim" | "total" | "history">
      & { admins: Iterable<string> },
    options: GrowOptions,
  ) {
    this.bucket = bucket;
    this.file = file;
    this.journey = journey;
    this.claim = claim;
    this.total = total;
    this.history = history;
    this.own = new OwnWrites(claim.revision);
    this.#admins = new Set(admins);
    this.#options = options;
    this.#pace = options.pace ?? 0.5;
  }

  /** The entry of the history that tells of the move. */
  get entry(): string | undefined {
    return this.history?.entry(this.#options.by ?? "library", this.journey.generation);
  }

  /** The signal of the caller. */
  get signal(): AbortSignal | undefined {
    return this.#options.signal;
  }

  /** Throws `aborted` if the caller's signal is aborted. */
  check(): void {
    refuseAborted(this.signal);
  }

  /** Begins a step. */
  begin(phase: GrowPhase): void {
    this.#phase = phase;
    this.#done = 0;
    this.#reported = 0;
    this.report(0);
  }

  /** Reports that `done` records of the step are done, at most ten times a second. */
  report(done: number = this.#done): void {
    this.#done = done;
    const now = performance.now();
    if (this.#options.onProgress === undefined || now - this.#reported < 100) return;
    this.#reported = now;
    this.#options.onProgress({
      phase: this.#phase,
      done: Math.min(done, this.total),
      total: this.total,
      lag: this.#phase === "done" ? 0 : this.file.lag,
      attempts: this.attempts,
      reason: this.reason,
    });
  }

  /** Writes entries that can wait: in batches, with pauses as long as the server takes for them. */
  async write(entries: Entries): Promise<void> {
    for (let from = 0; from < entries.length; from += BATCH_LIMIT) {
      this.check();
      const begun = performance.now();
      await this.commit(entries.slice(from, from + BATCH_LIMIT), Date.now() + BATCH_MS);
      const took = performance.now() - begun;
      await pause(Math.min(LONGEST_PAUSE, took / this.#pace - took));
    }
  }

  /** Writes entries at once, on the condition that the mark is this run's. */
  async commit(entries: Entries, deadline: number): Promise<void> {
    if (entries.length === 0) return;
    const writes = entries.map(([key, value]): Write => ({ key, value }));
    writes[0] = { ...writes[0]!, ...guardOf(this.claim.revision) };
    try {
      const last = await this.bucket.commit(writes, deadline, {
        signal: this.signal,
        alone: true,
        onOpen: whenStuck(this.bucket),
      });
      this.own.add(last, writes.length);
    } catch (error) {
      throw error instanceof WrongRevision ? takenOver(error) : error;
    }
    this.written += entries.length;
    for (const [key, value] of entries) {
      if (value === null) this.#admins.delete(key);
      else if (key.startsWith("admins.")) this.#admins.add(key);
    }
  }

  /** Returns what to write: nothing is deleted from the index of admins that is not in it. */
  entriesOf(wanted: Wanted): Entries {
    return [...wanted].filter(([key, value]) =>
      value !== null || !key.startsWith("admins.") || this.#admins.has(key)
    );
  }

  /** Copies the oldest noted changes; returns how many. */
  async round(): Promise<number> {
    this.check();
    const notes = this.file.notes(ROUND);
    if (notes.length === 0) return 0;
    const wanted = wantedOf(notes, this.file.get);
    await this.commit(this.entriesOf(wanted), Date.now() + BATCH_MS);
    await this.file.drop(notes.at(-1)!.seq);
    this.report();
    return notes.length;
  }

  /** Copies changes until no more are left than one round takes. */
  async catchUp(): Promise<void> {
    while (await this.round() >= ROUND) { /* More came meanwhile. */ }
    await this.history?.all();
  }

  /** Takes a mark that it wrote. */
  took(claim: Claim): void {
    this.claim = claim;
    this.own.add(claim.revision, 1);
  }

  /**
   * Returns whether another program has written to the bucket since it was compared with the file, and
   * notes it as the reason why there is no switch yet.
   *
   * @throws {StoreError} `conflict`: it does so again and again
   */
  async isForeign(): Promise<boolean> {
    const key = await this.own.foreign(this.bucket, soon());
    if (key === null) return false;
    const now = Date.now();
    const isAgain = now - this.#foreign.at < FOREIGN.apart;
    this.#foreign.count = isAgain ? this.#foreign.count + 1 : 1;
    this.#foreign.at = now;
    if (this.#foreign.count >= FOREIGN.most) throw writtenOften(this.bucket, key, FOREIGN.most);
    this.reason = writtenElsewhere(key).message;
    return true;
  }

  /**
   * Copies the last changes of a frozen file and reads them back.
   *
   * @throws {StoreError} `unavailable`: they are too many for a pause, or another program writes to the
   * bucket; `mismatch`
   */
  async last(deadline: number): Promise<void> {
    const notes = this.file.notes(ROUND + 1);
    if (notes.length > ROUND) {
      throw new StoreError("unavailable", `Switching: more than ${ROUND} changes are left to copy`);
    }
    const entries = this.entriesOf(wantedOf(notes, this.file.get));
    await Promise.all([this.commit(entries, deadline), this.history?.last(deadline)]);
    const different = await differentIn(this.bucket, entries, deadline);
    if (different !== null) {
      throw new StoreError("mismatch", `Switching: ${different} was not stored as written`);
    }
    const foreign = await this.own.foreign(this.bucket, deadline);
    if (foreign !== null) throw writtenElsewhere(foreign);
  }
}
