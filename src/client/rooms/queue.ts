/**
 * A queue with an end to its patience: of too much, the oldest is let go.
 *
 * @module
 */

/** The bounds of a {@link Queue}. */
export interface QueueBounds {
  /** Most items. */
  items: number;
  /** Most bytes. */
  bytes: number;
}

/** Items with a size, taken in their order. */
export class Queue<T> {
  readonly #bounds: QueueBounds;
  readonly #sizeOf: (item: T) => number;
  #items: T[] = [];
  /** Items before this one were taken. */
  #at = 0;
  #bytes = 0;
  #waiting: (() => void)[] = [];
  #ended = false;
  #error: unknown = null;

  /** Begins empty. */
  constructor(bounds: QueueBounds, sizeOf: (item: T) => number) {
    this.#bounds = bounds;
    this.#sizeOf = sizeOf;
  }

  /** Puts an item in; tells how many were let go for it. */
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

  /** Takes the next item, waiting for one; `null` at the end. Rejects with the error it ended with. */
  async take(): Promise<T | null> {
    while (this.#at === this.#items.length) {
      if (this.#error !== null) throw this.#error;
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.#shift();
  }

  /** Ends it: after what is in it comes the end, or an error. */
  end(error: unknown = null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  /** Ends it at once. */
  clear(): void {
    this.#items = [];
    this.#at = 0;
    this.#bytes = 0;
    this.end();
  }

  #wake(): void {
    for (const it of this.#waiting.splice(0)) it();
  }

  #shift(): T {
    const item = this.#items[this.#at]!;
    this.#items[this.#at++] = undefined as T;
    this.#bytes -= this.#sizeOf(item);
    // Now and then, so that taking one costs the same however many there are.
    if (this.#at > 1024 && this.#at * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#at);
      this.#at = 0;
    }
    return item;
  }
}
