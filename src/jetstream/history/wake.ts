/**
 * Notices that somebody writes an entry of the history, so that it can be read at once.
 *
 * @module
 */

import type { Bucket } from "../log/bucket.ts";
import { subscribe } from "../log/wire.ts";
import { HISTORY_PATTERN } from "../records/keys.ts";

/** Listens to what is sent to the bucket's stream; that is a hint, and stored a moment later. */
export class Wake implements Disposable {
  readonly #sub: ReturnType<typeof subscribe>;
  #heard = false;
  #wake: () => void = () => {};

  constructor(bucket: Bucket) {
    this.#sub = subscribe(bucket.nc, bucket.subject(HISTORY_PATTERN), {
      callback: () => {
        this.#heard = true;
        this.#wake();
      },
    });
  }

  /** Waits until something is heard, at most so many milliseconds; returns whether something was. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.#heard && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", this.#wake);
      await promise;
      clearTimeout(timer);
      signal.removeEventListener("abort", this.#wake);
    }
    const heard = this.#heard;
    this.#heard = false;
    return heard;
  }

  [Symbol.dispose](): void {
    this.#sub.unsubscribe();
  }
}
