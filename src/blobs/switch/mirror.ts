/**
 * Keeps a second store of blobs equal to a first one while that is in use.
 *
 * @module
 */

import { isStoreError } from "../../core/errors.ts";
import { Turns } from "../../core/async/turns.ts";
import {
  copyBlob,
  type CopyBlobsOptions,
  type CopyBlobsReport,
  copyEach,
  forEachBlob,
} from "../copy.ts";
import { missingIn } from "../holders.ts";
import type { BlobInfo, BlobStore } from "../types.ts";

/** A second store of blobs. */
export class Mirror {
  /** The store that it is equal to. */
  readonly from: BlobStore;
  /** The second store. */
  readonly to: BlobStore;
  /** Blobs that could not be made equal when they changed. */
  readonly owed = new Set<string>();
  readonly #turns = new Turns();
  readonly #work = new Set<Promise<unknown>>();

  constructor(from: BlobStore, to: BlobStore) {
    this.from = from;
    this.to = to;
  }

  /**
   * Makes one blob in the second store what it is in the first, with its holders. Call it after each
   * change of the blob: the last call sees the last change.
   *
   * @returns Whether its bytes were copied; `null` if the first store does not have it
   */
  sync(id: string, signal?: AbortSignal): Promise<boolean | null> {
    const work = this.#turns.take(id, () => this.#sync(id, signal));
    const settled = work.catch(() => {}).finally(() => this.#work.delete(settled));
    this.#work.add(settled);
    return work;
  }

  async #sync(id: string, signal?: AbortSignal): Promise<boolean | null> {
    const { from, to } = this;
    const blob = await from.stat(id);
    let copied = blob && await copyBlob(from, to, blob, signal);
    const [here, there] = await Promise.all([from.holders(id), to.holders(id)]);
    if (there !== null) {
      const extra = here === null ? null : missingIn(here, there);
      if (extra === null || extra.unowned) {
        await remove(to, id);
        if (extra !== null) copied = await copyBlob(from, to, blob!, signal);
      } else for (const owner of extra.owners) await remove(to, id, owner);
    }
    this.owed.delete(id);
    return copied;
  }

  /** Makes all blobs equal, which removes those that only the second store has. */
  async all({ signal, onProgress }: CopyBlobsOptions = {}): Promise<CopyBlobsReport> {
    const sync = ({ id }: BlobInfo) => this.sync(id, signal);
    const report = await copyEach(this.from, sync, { signal, onProgress });
    await forEachBlob(this.to, signal, async ({ id }) => {
      if (await this.from.stat(id) === null) await this.sync(id, signal);
    });
    await this.settle(signal);
    return report;
  }

  /** Makes the blobs equal that could not be made so when they changed. */
  async settle(signal?: AbortSignal): Promise<void> {
    for (const id of [...this.owed]) await this.sync(id, signal);
  }

  /** Waits for what is in progress. */
  async idle(): Promise<void> {
    await Promise.all(this.#work);
  }
}

/** Removes a blob or a holder that may have been removed already. */
export async function remove(store: BlobStore, id: string, owner?: string): Promise<void> {
  try {
    await store.delete(id, owner);
  } catch (error) {
    if (!isStoreError(error, "not_found") && !isStoreError(error, "forbidden")) throw error;
  }
}
