/**
 * What views are drawn from: an object that tells when it has changed.
 *
 * @module
 */

import { useEffect, useState } from "preact/hooks";

/** At most one drawing in this time, milliseconds: messages may come by the hundred. */
const DRAW_MS = 16;

/** An object that can be watched. */
export class Model {
  readonly #listeners = new Set<() => void>();

  /** Calls `listener` after each change; returns a function that ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells the listeners. */
  protected changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Draws the component again when the model has changed. */
export function useModel<T extends Model>(model: T): T {
  const [, draw] = useState(0);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const soon = (): void => {
      timer ??= setTimeout(() => {
        timer = undefined;
        draw((it) => it + 1);
      }, DRAW_MS);
    };
    const stop = model.subscribe(soon);
    // It may have changed between the drawing and now.
    soon();
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [model]);
  return model;
}
