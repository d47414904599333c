/**
 * When a follower compares the stream with its file, and what follows from it.
 *
 * @module
 */

import type { StoreError } from "../../core/errors.ts";
import type { Held } from "../file/messages.ts";
import { parseAlarm } from "../stream/alarms.ts";
import { compareStream, isRestored, wasAwayTooLong } from "../stream/compare.ts";
import type { Difference } from "../stream/digests.ts";
import { type Audited, Audits, type Findings } from "./audits.ts";

/** How long comparing with the stream may take, milliseconds. */
const PATIENCE = 10_000;

/** Whom comparisons tell. */
export interface Comparing extends Findings {
  /** The stream differs from what the file held; it may be one replica of it. */
  onFound(error: StoreError, held: Held): Promise<void>;
}

/** Compares a stream with a file. */
export class Comparisons {
  readonly #of: Audited;
  readonly #to: Comparing;
  readonly #audits: Audits;
  /** Audits of a server that was away: they go on while following is begun again. */
  readonly #again: Audits;

  /** @param to Told what is found */
  constructor(of: Audited, to: Comparing) {
    this.#of = of;
    this.#to = to;
    this.#audits = new Audits(of, to);
    this.#again = new Audits(of, to);
  }

  /** Ends what is under way, but not {@link settle}. */
  stop(): void {
    this.#audits.stop();
  }

  /** Ends all that is under way. */
  end(): void {
    this.stop();
    this.#again.stop();
  }

  /** Compares before the first message is applied. */
  async first(held: Held): Promise<void> {
    const { bucket, thread } = this.#of;
    const kept = held.alarm === null ? null : parseAlarm(held.alarm);
    if (kept !== null && kept.field !== "file") return this.#to.onAlarm(kept);
    const found = await this.#look(held);
    const mayBeRestored = kept === null && found?.field === "stream";
    if (mayBeRestored && await isRestored(bucket, thread, held)) {
      // It was audited whole to find that out.
      await thread.ask("adopt", bucket.created);
      held.created = bucket.created;
    } else if (found !== null) await this.#to.onFound(found, held);
    else if (held.exact) await this.#audits.begin(held);
    // The stream is right, as far as the file can tell.
    if (kept !== null) this.#to.onDamage(kept);
  }

  /** Audits again and again from now on. */
  repeat(): void {
    this.#audits.repeat();
  }

  /** Compares all that must be known before a store on a lone server answers again. */
  async settle(known: number): Promise<void> {
    const held = await this.#of.thread.ask("held", undefined);
    if (held === null) return;
    const found = await this.#look(held, known);
    if (found !== null) return this.#to.onAlarm(found);
    if (held.exact) await this.#again.begin(held);
  }

  /**
   * Compares after the connection was lost.
   *
   * @param isCurrent Whether the file still holds just that
   * @returns Whether all has to be loaded again
   */
  async reconnected(held: Held, isCurrent: () => boolean): Promise<boolean> {
    const found = await this.#look(held);
    if (found !== null) {
      await this.#to.onFound(found, held);
      return false;
    }
    if (!isCurrent() && !held.exact) return false;
    if (wasAwayTooLong(held)) return true;
    if (held.exact) void this.#audits.begin(held).catch(() => {});
    return false;
  }

  /** Another follower holds something else at one position. */
  differs(difference: Difference, held: Held): void {
    this.#audits.doubt(difference, held);
  }

  #look(held: Held, known?: number): Promise<StoreError | null> {
    const { bucket, thread } = this.#of;
    return compareStream(bucket, thread, held, Date.now() + PATIENCE, known);
  }
}
