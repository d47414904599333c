/**
 * Listeners for changes of access rights. A listener is not awaited, and its errors are ignored.
 *
 * @module
 */

import type { AccessChange } from "../model.ts";
import { callQuietly } from "./callback.ts";

/** The listener passed to `watchAccess`. */
export type AccessListener = (change: AccessChange) => void;

/** The listeners of one store. */
export class AccessListeners {
  readonly #listeners = new Set<{ call: AccessListener }>();
  readonly #watch: () => () => void;
  #end: (() => void) | null = null;

  /**
   * @param watch Called when the first listener is added; what it returns is called when the last is
   * removed
   */
  constructor(watch: () => () => void) {
    this.#watch = watch;
  }

  /** Whether there are listeners. */
  get any(): boolean {
    return this.#listeners.size > 0;
  }

  /** Adds a listener; returns a function that removes it. A function added twice is two listeners. */
  add(call: AccessListener): () => void {
    this.#end ??= this.#watch();
    const listener = { call };
    this.#listeners.add(listener);
    return () => {
      if (this.#listeners.delete(listener) && !this.any) this.clear();
    };
  }

  /** Calls all current listeners. */
  emit(change: AccessChange): void {
    for (const listener of [...this.#listeners]) {
      // Removed by a listener called before it.
      if (!this.#listeners.has(listener)) continue;
      // Each gets a copy, so that one cannot change what the next one sees.
      callQuietly(() => listener.call({ ...change }));
    }
  }

  /** Removes all listeners. */
  clear(): void {
    this.#listeners.clear();
    this.#end?.();
    this.#end = null;
  }
}
