/**
 * The memory of requests that were seen, so that none is obeyed twice.
 *
 * @module
 */

/** What {@link ReplayGuard} takes. */
export interface ReplayGuardOptions {
  /** How long ago `created` may be, milliseconds. */
  windowMs: number;
  /** Most requests remembered; about 250 bytes each. Then `full`: nothing is accepted unseen. */
  maxEntries: number;
  /** When this process began to remember. */
  startedAt: Date;
  /** The server's clock, the one that judged `created`. */
  now: () => Date;
}

/** What {@link ReplayGuard.check} found. */
export type Freshness = "fresh" | "repeated" | "full" | "too_old";

/** A window is cut into this many slices, dropped whole: nothing is scanned. */
const SLICES = 8;

/**
 * Remembers who used which nonce for as long as the signature could be accepted again. Ask it after
 * the signature was verified: else anybody could fill it.
 */
export class ReplayGuard {
  readonly #options: ReplayGuardOptions;
  readonly #sliceMs: number;
  readonly #startedMs: number;
  /** Signer and nonce, by when the request was created. */
  readonly #slices = new Map<number, Set<string>>();
  #size = 0;
  #swept = -Infinity;
  #latest = -Infinity;

  /** Makes one that remembers nothing yet. */
  constructor(options: ReplayGuardOptions) {
    this.#options = { ...options };
    this.#sliceMs = Math.max(1000, Math.ceil(options.windowMs / SLICES));
    // `created` has whole seconds: what was made in our first second must not count as older.
    this.#startedMs = Math.floor(options.startedAt.getTime() / 1000) * 1000;
  }

  /** How many requests are remembered. */
  get size(): number {
    return this.#size;
  }

  /**
   * Remembers a request, and says whether it may be obeyed: only when `fresh`. `too_old` is what was
   * created before {@link ReplayGuardOptions.startedAt}, because what was seen then is forgotten.
   */
  check(signPub: string, nonce: string, createdMs: number): Freshness {
    if (createdMs < this.#startedMs) return "too_old";
    // A clock set back would bring requests into the window that are already forgotten.
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

  /** Forgets the slices that lie behind the window as a whole. */
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
