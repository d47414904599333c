/**
 * When a follower compares the whole stream with its file.
 *
 * @module
 */

import type { StoreError } from "../core/errors.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import { wait } from "../jetstream/log/wire.ts";
import type { Held } from "./file/messages.ts";
import type { Thread } from "./file/thread.ts";
import { alarm } from "./stream/alarms.ts";
import { auditStream } from "./stream/audit.ts";
import { wasAwayTooLong } from "./stream/compare.ts";
import type { Difference } from "./stream/digests.ts";

/** Live keys up to which all are compared before a store opens; of more only users are. */
const ALL_FIRST = 200_000;
/** Pause before an audit that failed is tried again, milliseconds. */
const PAUSE = 10_000;

/** What audits work on. */
export interface Audited {
  /** The bucket. */
  bucket: Bucket;
  /** The file. */
  path: string;
  /** The file, open. */
  thread: Thread;
  /** Whether a store waits that must not answer before the stream was compared. */
  guards: boolean;
}

/** Audits of one file; a new one replaces the one before. */
export class Audits {
  readonly #of: Audited;
  readonly #onAlarm: (error: StoreError) => void;
  #ending = new AbortController();
  #doubting = false;

  /** @param onAlarm Told what is found */
  constructor(of: Audited, onAlarm: (error: StoreError) => void) {
    this.#of = of;
    this.#onAlarm = onAlarm;
  }

  /** Ends what is under way. */
  stop(): void {
    this.#ending.abort();
  }

  /** Begins one; waits for as much of it as must be known before anything else happens. */
  async begin(held: Held): Promise<void> {
    this.stop();
    const { signal } = this.#ending = new AbortController();
    // What is loaded anew can no longer tell.
    if (wasAwayTooLong(held) || (this.#of.guards && held.entries <= ALL_FIRST)) {
      return await this.#run(held, signal);
    }
    if (this.#of.guards) await this.#run(held, signal, "users");
    void this.#runLater(held, signal);
  }

  /** Finds out whether this file is wrong, or the stream it reads: it may be the other follower's. */
  doubt({ position, ours, theirs }: Difference, held: Held): void {
    if (this.#doubting) return;
    this.#doubting = true;
    const { bucket, path, thread } = this.#of;
    const judge = async () => {
      if (await thread.ask("isSummed", undefined)) {
        return held.exact ? await this.#run(held, this.#ending.signal) : undefined;
      }
      const text = `its digest at position ${position} is ${ours}, another follower has ${theirs}`;
      this.#onAlarm(alarm("file", bucket.name, `${path} is damaged: ${text}`));
    };
    // Where it fails, the next difference is judged again.
    judge().catch(() => {}).finally(() => this.#doubting = false);
  }

  async #run(held: Held, signal: AbortSignal, space?: string): Promise<void> {
    const { bucket, thread } = this.#of;
    const allowGone = wasAwayTooLong(held);
    const options = { bucket, thread, held, allowGone, signal };
    const found = await auditStream(space === undefined ? options : { ...options, space });
    if (found !== null) this.#onAlarm(found);
  }

  async #runLater(held: Held, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        return await this.#run(held, signal);
      } catch {
        await wait(PAUSE, signal).catch(() => {});
      }
    }
  }
}
