/**
 * Remembers requests, so that none is accepted twice.
 *
 * @module
 */

/** Options of {@link ReplayGuard}. */
export interface ReplayGuardOptions {
  /** Maximum age of `created`, milliseconds. */
  windowMs: number;
  /** Maximum number of requests remembered, about 250 bytes each. Beyond it, all requests are refused. */
  maxEntries: number;
  /** When this process started to remember requests. */
  startedAt: Date;
  /** The server's clock, the same that `verifyRequest` uses. */
  now: () => Date;
}

/** The result of {@link ReplayGuard.check}. */
export type Freshness = "fresh" | "repeated" | "full" | "too_old";

/** Number of slices of the window. Slices are dropped as a whole, so that nothing is scanned. */
const SLICES = 8;

/**
 * Remembers the nonces of each signer as long as their signatures could be accepted again. Call it after
 * the signature was verified; otherwise anyone could fill it.
 */
export class ReplayGuard {
  readonly #options: ReplayGuardOptions;
  readonly #sliceMs: number;
  readonly #startedMs: number;
  /** Signer and nonce, by the time when the request was created. */
  readonly #slices = new Map<number, Set<string>>();
  #size = 0;
  #swept = -Infinity;
  #latest = -Infinity;

  /** Creates an empty guard. */
  constructor(options: ReplayGuardOptions) {
    this.#options = { ...options };
    this.#sliceMs = Math.max(1000, Math.ceil(options.windowMs / SLICES));
    // `created` has whole seconds: a request of our first second must not count as too old.
    this.#startedMs = Math.floor(options.startedAt.getTime() / 1000) * 1000;
  }

  /** Number of requests remembered. */
  get size(): number {
    return this.#size;
  }

  /**
   * Remembers a request and returns whether it may be accepted: only if `fresh`. A request created before
   * {@link ReplayGuardOptions.startedAt} is `too_old`, because earlier requests are not remembered.
   */
  check(signPub: string, nonce: string, createdMs: number): Freshness {
    if (createdMs < this.#startedMs) return "too_old";
    // If the clock is set back, requests that are already forgotten would be in the window again.
    const now = this.#latest = Math.max(this.#latest, this.#options.now().getTime());
    this.#sweep(now);
    if (createdMs < now - this.#options.windowMs) return "too_old";
    const slice = Math.floor(createdMs / this.#sliceMs);
    let seen = this.#slices.get(slice);
    const entry = `${signPub}${nonce}`;
    if (seen?.has(entry)) return "repeated";
    if (this.#size >= this.#options.maxEntries) return "full";
    if (seen === undefined) this.#slices.set(slice, seen = new Set());
    seen.add(entry);
    this.#size++;
    return "fresh";
  }

  /** Drops the slices that are completely before the window. */
  #sweep(now: number): void {
    const oldest = Math.floor((now - this.#options.windowMs) / this.#sliceMs);
    if (oldest <= this.#swept) return;
    this.#swept = oldest;
    for (const [slice, seen] of this.#slices) {
      if (slice >= oldest) continue;
      this.#size -= seen.size;
      this.#slices.delete(slice);
    }
  }
}
