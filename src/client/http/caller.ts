/**
 * Calls with a time limit, and retries where they are safe.
 *
 * @module
 */

import { LONGEST_MS, pause } from "../../core/async/wait.ts";
import { isStoreError, StoreError } from "../../core/errors.ts";
import * as check from "../../core/validate.ts";
import { type Call, canResend, isRepeatable, type Target, unanswered, waitBefore } from "./call.ts";

/** Options of a {@link Caller}. */
export interface CallerOptions {
  /** Time limit of a call with all its retries, milliseconds. */
  timeout: number;
  /** Maximum number of retries of a call. */
  retries: number;
}

/** Calls a control plane. */
export class Caller {
  readonly #target: Target;
  readonly #retries: number;
  /** Default time limit of a call, milliseconds. */
  readonly timeout: number;
  #closed = false;

  /** Creates a caller. Sends nothing. */
  constructor(target: Target, { timeout, retries }: CallerOptions) {
    this.#target = target;
    this.timeout = timeout;
    this.#retries = retries;
  }

  /** Milliseconds that the server's clock is ahead of the local one, known after it refused a time. */
  get clockOffset(): number {
    return this.#target.clockOffset;
  }

  /** The highest generation seen. */
  get generation(): number {
    return this.#target.generation;
  }

  /** The newest revision seen. */
  get revision(): string | null {
    return this.#target.revision;
  }

  /** Rejects later calls with `closed`. */
  close(): void {
    this.#closed = true;
  }

  /** Sends a call and retries it if that is safe. */
  async call<T>(call: Call<T>): Promise<T> {
    if (this.#closed) throw new StoreError("closed", "The client is closed");
    const timeout = check.integer("timeout", call.timeout ?? this.timeout, 1, LONGEST_MS);
    const deadline = performance.now() + timeout;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(timeout), timeout);
    const signal = call.signal ? AbortSignal.any([call.signal, late.signal]) : late.signal;
    let before: StoreError | null = null;
    try {
      for (let tried = 0;; tried++) {
        try {
          return await this.#target.send(call, signal);
        } catch (error) {
          // What the server answered first says more than a time-out, where a repetition changes nothing.
          if (late.signal.aborted && before !== null && isRepeatable(call)) throw before;
          if (!isStoreError(error) || !canResend(call) || signal.aborted) throw error;
          before = error;
          const wait = tried < this.#retries ? waitBefore(call, error, tried) : null;
          // If the wait would exceed the time limit, this error says more than a time-out would.
          if (wait === null || performance.now() + wait >= deadline) throw error;
          await pause(wait, signal).catch((cause) => {
            throw unanswered(call, signal, cause);
          });
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }
}
