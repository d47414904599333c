/**
 * A lone server that was away may have started on a damaged disk, and nobody corrects it: what it
 * says is in doubt until stream and file have been compared again.
 *
 * @module
 */

import type { Bucket } from "../../jetstream/log/bucket.ts";
import { watchStatus } from "../../nats/connection/watch.ts";

/** Pause before a comparison that failed is tried again, milliseconds. */
const PAUSE = 250;

/** Whom doubts tell. */
export interface DoubtOptions {
  /** Compares; rejects where that was not possible. */
  compare(): Promise<void>;
  /** The stream is in doubt, or no longer. */
  onDoubt(inDoubt: boolean): void;
}

/** Watches the connection to a lone server. */
export class Doubts {
  readonly #options: DoubtOptions;
  readonly #unwatch: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** How often the connection was lost. */
  #losses = 0;
  #inDoubt = false;
  #stopped = false;

  constructor(bucket: Bucket, options: DoubtOptions) {
    this.#options = options;
    // Known only while there is a connection.
    void bucket.isClustered;
    this.#unwatch = watchStatus(bucket.nc, (type) => {
      // The replicas of a cluster correct each other.
      if (type === "disconnect" && !bucket.isClustered) {
        this.#losses++;
        this.#inDoubt = true;
        options.onDoubt(true);
      } else if (type === "reconnect" && this.#inDoubt) void this.#settle();
    });
  }

  /** Whether the stream is in doubt. */
  get inDoubt(): boolean {
    return this.#inDoubt;
  }

  /** Ends; what is in doubt stays so. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#unwatch();
  }

  async #settle(): Promise<void> {
    clearTimeout(this.#timer);
    const losses = this.#losses;
    try {
      await this.#options.compare();
      if (this.#stopped || losses !== this.#losses) return;
      this.#inDoubt = false;
      this.#options.onDoubt(false);
    } catch {
      if (this.#stopped || losses !== this.#losses) return;
      this.#timer = setTimeout(() => void this.#settle(), PAUSE);
    }
  }
}
