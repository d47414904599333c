/**
 * Who listens for changes of access, kept apart from what they do about them: a listener is not
 * waited for, and its errors are its own.
 *
 * @module
 */

import type { AccessChange } from "../model.ts";

/** What a caller of `watchAccess` gives. */
export type AccessListener = (change: AccessChange) => void;

/** The listeners of one store. */
export class AccessListeners {
  readonly #listeners = new Set<{ call: AccessListener }>();
  readonly #watch: () => () => void;
  #end: (() => void) | null = null;

  /** @param watch Called when somebody begins to listen; what it returns, when nobody does any more */
  constructor(watch: () => () => void) {
    this.#watch = watch;
  }

  /** Whether anybody listens. */
  get any(): boolean {
    return this.#listeners.size > 0;
  }

  /** Adds one; returns what takes it away again. One function added twice is two listeners. */
  add(call: AccessListener): () => void {
    this.#end ??= this.#watch();
    const listener = { call };
    this.#listeners.add(listener);
    return () => {
      if (this.#listeners.delete(listener) && !this.any) this.clear();
    };
  }

  /** Tells everybody who listens now. */
  emit(change: AccessChange): void {
    for (const listener of [...this.#listeners]) {
      // Taken away by one that was told before it.
      if (!this.#listeners.has(listener)) continue;
      try {
        // A copy each: what one does to it is not the next one's business.
        const answer: unknown = listener.call({ ...change });
        if (answer instanceof Promise) answer.catch(() => {});
      } catch {
        // The change is a fact, whatever the listener makes of it.
      }
    }
  }

  /** Takes everybody away. */
  clear(): void {
    this.#listeners.clear();
    this.#end?.();
    this.#end = null;
  }
}
