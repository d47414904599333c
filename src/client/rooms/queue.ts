/**
 * A bounded queue: if it is full, the oldest items are dropped.
 *
 * @module
 */

/** The limits of a {@link Queue}. */
export interface QueueBounds {
  /** Maximum number of items. */
  items: number;
  /** Maximum total size in bytes; a single larger item is kept. */
  bytes: number;
}

/** A first-in, first-out queue of items with a size. */
export class Queue<T> {
  readonly #bounds: QueueBounds;
  readonly #sizeOf: (item: T) => number;
  #items: T[] = [];
  /** Index of the next item; earlier ones were taken. */
  #at = 0;
  #bytes = 0;
  #waiting: (() => void)[] = [];
  #ended = false;
  #error: unknown = null;

  /** Creates an empty queue. */
  constructor(bounds: QueueBounds, sizeOf: (item: T) => number) {
    this.#bounds = bounds;
    this.#sizeOf = sizeOf;
  }

  /** Adds an item; returns the number of items dropped for it. */
  push(item: T): number {
    if (this.#ended) return 0;
    this.#items.push(item);
    this.#bytes += this.#sizeOf(item);
    let dropped = 0;
    while (
      this.#items.length - this.#at > this.#bounds.items ||
      (this.#bytes > this.#bounds.bytes && this.#items.length - this.#at > 1)
    ) {
      this.#shift();
      dropped++;
    }
    this.#wake();
    return dropped;
  }

  /** Waits for the next item and removes it; `null` at the end. Rejects with the error passed to `end`. */
  async take(): Promise<T | null> {
    while (this.#at === this.#items.length) {
      if (this.#error !== null) throw this.#error;
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.#shift();
  }

  /** Ends the queue: after the remaining items, `take` returns `null` or rejects with `error`. */
  end(error: unknown = null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  /** Drops all items and ends the queue. */
  clear(): void {
    this.#items = [];
    this.#at = 0;
    this.#bytes = 0;
    this.end();
  }

  /** Iterates over the items; the consumer ends it by `stop`. */
  iterate(stop: () => void): AsyncIterableIterator<T> {
    const end: IteratorReturnResult<undefined> = { done: true, value: undefined };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: async () => {
        const value = await this.take();
        return value === null ? end : { done: false, value };
      },
      return: () => {
        stop();
        return Promise.resolve(end);
      },
    };
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #shift(): T {
    const item = this.#items[this.#at]!;
    this.#items[this.#at++] = undefined as T;
    this.#bytes -= this.#sizeOf(item);
    // Only now and then, so that taking an item has constant amortized cost.
    if (this.#at > 1024 && this.#at * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#at);
      this.#at = 0;
    }
    return item;
  }
}
