/**
 * Receives bytes: splits them into blocks, counts and hashes them while they are written.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import { checkPut } from "./checks.ts";
import type { Lifetime } from "./lifetime.ts";
import type { BlobHolders, PutBlobOptions, StoredBlob } from "./types.ts";

/** Stores the blocks of one blob, which is invisible until the commit. */
export interface Sink {
  /** Writes one block; all but the last have the full size. The sink takes over the bytes. */
  write(block: Uint8Array): Promise<void>;
  /** Makes the blob visible and adds its holders, within their quota; returns whether it is new. */
  commit(id: string, size: number, holders: BlobHolders, quota: number): Promise<boolean>;
  /** Removes what was written. Called once if anything failed, including the commit. Never rejects. */
  discard(): Promise<void>;
}

/**
 * Writes `source` to a new sink. One block is written while the next is filled, so memory use is constant
 * and a slow sink slows the source.
 */
export async function takeIn(
  source: AsyncIterable<Uint8Array>,
  options: PutBlobOptions,
  lifetime: Lifetime,
  blockSize: number,
  open: () => Promise<Sink>,
): Promise<StoredBlob> {
  const { maxBytes, expected, signal, holders, quota } = checkPut(options);
  const interrupt = new Interrupt(signal, lifetime);
  let sink: Sink | null = null;
  try {
    interrupt.check();
    sink = await open();
    const hash = createHash("sha256");
    let size = 0;
    let writing: Promise<void> = Promise.resolve();
    for await (const block of blocksOf(source, blockSize, maxBytes, interrupt)) {
      await writing;
      interrupt.check();
      writing = sink.write(block);
      // Handled when it is awaited, which may be after the source has failed.
      writing.catch(() => {});
      hash.update(block);
      size += block.length;
    }
    await writing;
    interrupt.check();
    const id = hash.digest("hex");
    if (expected !== undefined && id !== expected) {
      throw new StoreError("invalid", `The bytes have SHA-256 ${id}, expected ${expected}`, {
        field: "content-digest",
      });
    }
    return { id, size, created: await sink.commit(id, size, holders, quota) };
  } catch (error) {
    await sink?.discard();
    throw error;
  } finally {
    interrupt.end();
  }
}

async function* blocksOf(
  source: AsyncIterable<Uint8Array>,
  blockSize: number,
  maxBytes: number,
  interrupt: Interrupt,
): AsyncGenerator<Uint8Array, void> {
  const iterator = source[Symbol.asyncIterator]();
  let block: Buffer | null = null;
  let filled = 0;
  let size = 0;
  let ended = false;
  try {
    for (;;) {
      const next = await interrupt.race(() => iterator.next());
      if (next.done) break;
      const chunk = next.value;
      if (!(chunk instanceof Uint8Array)) {
        throw new StoreError("invalid", "A blob's source must yield Uint8Array", {
          field: "source",
        });
      }
      size += chunk.length;
      if (size > maxBytes) {
        throw new StoreError("too_large", `A blob must have at most ${maxBytes} bytes, found more`);
      }
      // Copied, because the source may reuse its buffer.
      for (let from = 0; from < chunk.length;) {
        block ??= Buffer.allocUnsafeSlow(blockSize);
        const part = chunk.subarray(from, from + blockSize - filled);
        block.set(part, filled);
        filled += part.length;
        from += part.length;
        if (filled < blockSize) continue;
        yield block;
        block = null;
        filled = 0;
      }
    }
    ended = true;
    if (block !== null && filled > 0) yield block.subarray(0, filled);
  } finally {
    // Not awaited, because a source may hang forever.
    if (!ended) Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

/** Ends a wait when the caller's signal is aborted or the store is closed. */
class Interrupt {
  #reason: StoreError | null = null;
  #reject: ((reason: StoreError) => void) | null = null;
  readonly #signal: AbortSignal | undefined;
  readonly #forget: () => void;
  readonly #onAbort = () => {
    this.#fire(
      new StoreError("aborted", "Storing a blob was aborted", {
        cause: this.#signal?.reason,
      }),
    );
  };

  constructor(signal: AbortSignal | undefined, lifetime: Lifetime) {
    this.#signal = signal;
    this.#forget = lifetime.onClose((reason) => this.#fire(reason));
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  #fire(reason: StoreError): void {
    this.#reason ??= reason;
    this.#reject?.(this.#reason);
  }

  check(): void {
    if (this.#reason !== null) throw this.#reason;
  }

  race<T>(wait: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#reason !== null) return reject(this.#reason);
      this.#reject = reject;
      // An error of the source after the abort is reported as the abort.
      wait().then(resolve, (error) => reject(this.#reason ?? error));
    });
  }

  end(): void {
    this.#reject = null;
    this.#forget();
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}
