/**
 * Blobs whose store is replaced while they are in use.
 *
 * @module
 */

import { within } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";
import type { BlobHolders, BlobStore, PutBlobOptions, StoredBlob } from "../types.ts";
import { Mirror, remove } from "./mirror.ts";

/** Time limit of a change that waits for a switch, milliseconds. */
const HELD_MS = 5_000;

/**
 * How long a hold waits for changes that had begun, milliseconds. One that takes longer, such as a large
 * upload, may fail when the store is stopped below it.
 */
const BEGUN_MS = 250;

/**
 * Forwards everything to the current store. With a mirror, each change is made there too before it is
 * acknowledged.
 */
export class SwitchingBlobs implements BlobStore {
  #current: BlobStore;
  readonly #former: BlobStore[] = [];
  #mirror: Mirror | null = null;
  #held: PromiseWithResolvers<void> | null = null;
  /** Changes in progress in the current store. */
  readonly #begun = new Set<Promise<unknown>>();

  constructor(first: BlobStore) {
    this.#current = first;
  }

  /** The store in use. */
  get current(): BlobStore {
    return this.#current;
  }

  /** Begins to make each change in `to` too. A change that fails there only is noted in its `owed`. */
  mirror(to: BlobStore): Mirror {
    this.#mirror = new Mirror(this.#current, to);
    return this.#mirror;
  }

  /** Ends the mirror; the second store stays as it is. */
  unmirror(): void {
    this.#mirror = null;
    this.release();
  }

  /**
   * Holds changes that begin from now on, and waits for those being made in the mirror, and a moment for
   * those being made in the current store.
   */
  async hold(): Promise<void> {
    this.#held ??= Promise.withResolvers();
    await within(BEGUN_MS, Promise.allSettled(this.#begun), () => {});
    await this.#mirror?.idle();
  }

  /** Ends {@link hold}. */
  release(): void {
    this.#held?.resolve();
    this.#held = null;
  }

  /** Uses `next` from now on, also for the changes that are held. The former one stays open for its readers. */
  replace(next: BlobStore): void {
    this.#former.push(this.#current);
    this.#current = next;
    this.unmirror();
  }

  async put(source: AsyncIterable<Uint8Array>, options: PutBlobOptions): Promise<StoredBlob> {
    return await this.#change(
      (store) => store.put(source, options),
      async (store, { id }, former) => {
        const blob = await former.get(id);
        if (blob !== null) await store.put(blob.body, { ...options, expected: id });
      },
      ({ id }) => id,
    );
  }

  async addHolders(id: string, holders: BlobHolders): Promise<boolean> {
    const add = (store: BlobStore) => store.addHolders(id, holders);
    return await this.#change(add, add, () => id);
  }

  async delete(id: string, owner?: string): Promise<boolean> {
    return await this.#change(
      (store) => store.delete(id, owner),
      (store) => remove(store, id, owner),
      () => id,
    );
  }

  /**
   * Makes a change, then in the mirror too; if the store was replaced meanwhile, makes it `again` in the
   * current one.
   */
  async #change<T>(
    work: (store: BlobStore) => Promise<T>,
    again: (store: BlobStore, result: T, former: BlobStore) => Promise<unknown>,
    idOf: (result: T) => string,
  ): Promise<T> {
    await this.#released();
    const store = this.#current;
    const result = await this.#counted(work(store));
    if (this.#mirror !== null) await this.#released();
    if (store !== this.#current) await again(this.#current, result, store);
    else if (this.#mirror !== null) await this.#copy(this.#mirror, idOf(result));
    return result;
  }

  async #counted<T>(change: Promise<T>): Promise<T> {
    this.#begun.add(change);
    try {
      return await change;
    } finally {
      this.#begun.delete(change);
    }
  }

  async #copy(mirror: Mirror, id: string): Promise<void> {
    // Noted first: a switch must not find it missing while it is being copied.
    mirror.owed.add(id);
    await mirror.sync(id).catch(() => {});
  }

  async #released(): Promise<void> {
    while (this.#held !== null) {
      await within(HELD_MS, this.#held.promise, () => {
        const what = "Blobs cannot be changed while their store is replaced";
        throw new StoreError("unavailable", what, { hint: "try again" });
      });
    }
  }

  stat: BlobStore["stat"] = (id) => this.#current.stat(id);
  get: BlobStore["get"] = (...args) => this.#current.get(...args);
  list: BlobStore["list"] = () => this.#current.list();
  holders: BlobStore["holders"] = (id) => this.#current.holders(id);
  usage: BlobStore["usage"] = (owner) => this.#current.usage(owner);
  health: BlobStore["health"] = () => this.#current.health();

  async close(): Promise<void> {
    this.unmirror();
    await Promise.all([this.#current, ...this.#former].map((it) => it.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
