/**
 * A store whose calls are made in names, and what follows its history.
 *
 * @module
 */

import { AsyncLocalStorage } from "node:async_hooks";
import type { ActingStore, Store } from "../../../../mod.ts";
import { type Ending, endingOf, type Json } from "../judge/history.ts";

/** A store that can be wrapped, and used in a name for each call. */
export class NamedStore {
  /** The store; in the name of the call that is made. */
  readonly store: Store;
  readonly #store: Store;
  readonly #acting = new AsyncLocalStorage<ActingStore>();

  constructor(store: Store) {
    this.#store = store;
    const methods = Object.entries(store).map(([name, value]) => {
      if (typeof value !== "function") return [name, value];
      return [name, (...args: unknown[]) => {
        const method = (this.#acting.getStore() as Json)?.[name] ?? value;
        return method(...args);
      }];
    });
    this.store = Object.fromEntries(methods) as Store;
  }

  /** Runs a call; its ending has the revision of what it changed. */
  async call(by: string | undefined, work: () => Promise<Json>): Promise<Ending> {
    const acting = by === undefined ? undefined : this.#store.as(by);
    const ending = await this.#acting.run(acting as ActingStore, work)
      .then((answer): Ending => ({ answer: answer ?? null }), endingOf);
    return acting === undefined ? ending : { ...ending, revision: acting.revision };
  }
}

/** Follows the history of a store from its beginning. */
export class Following {
  readonly #revisions: string[] = [];
  #error: string | null = null;
  #wake: () => void = () => {};

  constructor(store: Pick<Store, "follow">) {
    void this.#run(store);
  }

  async #run(store: Pick<Store, "follow">): Promise<void> {
    try {
      for await (const { revision } of store.follow({ after: null })) {
        this.#revisions.push(revision);
        this.#wake();
      }
    } catch (error) {
      this.#error = String(error);
      this.#wake();
    }
  }

  /** What was followed, once that is so many entries, or it takes too long. */
  async upTo(count: number): Promise<{ revisions: string[]; error: string | null }> {
    const end = AbortSignal.timeout(60_000);
    end.addEventListener("abort", () => this.#wake());
    while (this.#revisions.length < count && this.#error === null && !end.aborted) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return { revisions: this.#revisions, error: this.#error };
  }
}
