/**
 * Comparing the whole stream with a follower's file.
 *
 * @module
 */

import type { StoreError } from "../../core/errors.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { wait } from "../../jetstream/log/wire.ts";
import type { Held } from "../file/messages.ts";
import type { Thread } from "../file/thread.ts";
import { wasAwayTooLong } from "../stream/compare.ts";
import type { Difference } from "../stream/digests.ts";
import type { AuditOptions } from "../stream/audit.ts";
import { auditOwn } from "../stream/replicas.ts";
import { damagedFile } from "./degraded.ts";

/** Live keys up to which all are compared before a store opens; of more only users are. */
const ALL_FIRST = 200_000;
/** Pause before an audit that failed is tried again, milliseconds. */
const PAUSE = 10_000;
const INTERVAL = 30_000;
/** How many times as long as the audit before the pause is: so audits take less than 1 % of a core. */
const SHARE = 200;
/** The share of the time in which a repeated audit reads. */
const PACE = 0.2;

/** What audits work on. */
export interface Audited {
  /** The bucket. */
  bucket: Bucket;
  /** The file, open. */
  thread: Thread;
  /** Whether a store waits that must not answer before the stream was compared. */
  guards: boolean;
  /** What the file holds now; `null` while it is being loaded. */
  current: () => Held | null;
  /** The shortest pause between two audits of everything, milliseconds. Default 30,000. */
  interval?: number;
}

/** Whom audits tell. */
export interface Findings {
  /** The stream is not what it was. */
  onAlarm(error: StoreError): void;
  /** The file is not as the follower wrote it. */
  onDamage(error: StoreError): void;
}

/** Audits of one file; a new one replaces the one before. */
export class Audits {
  readonly #of: Audited;
  readonly #to: Findings;
  readonly #interval: number;
  #ending = new AbortController();
  #repeating = new AbortController();
  #doubting = false;
  /** When everything is audited next, by `performance.now()`. */
  #due = 0;

  /** @param to Told what is found */
  constructor(of: Audited, to: Findings) {
    this.#of = of;
    this.#to = to;
    this.#interval = of.interval ?? INTERVAL;
  }

  /** Ends what is under way. */
  stop(): void {
    this.#ending.abort();
    this.#repeating.abort();
  }

  /** Begins one; waits for as much of it as must be known before anything else happens. */
  async begin(held: Held): Promise<void> {
    this.#ending.abort();
    const { signal } = this.#ending = new AbortController();
    // What is loaded anew can no longer tell.
    if (wasAwayTooLong(held) || (this.#of.guards && held.entries <= ALL_FIRST)) {
      return await this.#run(held, { signal });
    }
    if (this.#of.guards) await this.#run(held, { signal, space: "users" });
    void this.#runLater(held, signal);
  }

  /** Audits everything again and again, so slowly that it costs little, until it is stopped. */
  repeat(): void {
    this.#repeating.abort();
    const { signal } = this.#repeating = new AbortController();
    this.#due = performance.now() + this.#interval;
    void this.#repeat(signal).catch(() => {});
  }

  async #repeat(signal: AbortSignal): Promise<void> {
    for (;;) {
      for (let left = this.#interval; left > 0; left = this.#due - performance.now()) {
        await wait(Math.min(left, this.#interval), signal);
      }
      const held = this.#of.current();
      this.#due = performance.now() + Math.min(PAUSE, this.#interval);
      const { isFilling } = this.#of.bucket.mark;
      if (held?.exact && !isFilling) await this.#run(held, { signal, pace: PACE }).catch(() => {});
    }
  }

  /** Finds out whether this file is wrong, or the stream it reads: it may be the other follower's. */
  doubt({ position, ours, theirs }: Difference, held: Held): void {
    if (this.#doubting) return;
    this.#doubting = true;
    const { bucket, thread } = this.#of;
    const judge = async () => {
      if (await thread.ask("isSummed", undefined)) {
        return held.exact ? await this.#run(held, this.#ending) : undefined;
      }
      const text = `its digest at position ${position} is ${ours}, another follower has ${theirs}`;
      this.#to.onDamage(damagedFile(bucket.name, text));
    };
    // Where it fails, the next difference is judged again.
    judge().catch(() => {}).finally(() => this.#doubting = false);
  }

  async #run(
    held: Held,
    { signal, space, pace = 1 }: Pick<AuditOptions, "signal" | "space" | "pace">,
  ): Promise<void> {
    const { bucket, thread } = this.#of;
    const options = { bucket, thread, held, allowGone: wasAwayTooLong(held), signal, pace };
    if (space !== undefined) return this.#tell(await auditOwn({ ...options, space }));
    const began = performance.now();
    // Not two at once.
    this.#due = Infinity;
    try {
      this.#tell(await auditOwn(options));
    } finally {
      const ended = performance.now();
      this.#due = ended + Math.max(this.#interval, SHARE * pace * (ended - began));
    }
  }

  #tell(found: StoreError | null): void {
    if (found !== null) this.#to.onAlarm(found);
  }

  async #runLater(held: Held, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        return await this.#run(held, { signal });
      } catch {
        await wait(PAUSE, signal).catch(() => {});
      }
    }
  }
}
