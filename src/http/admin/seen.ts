/**
 * When users sent their last request to this process. It is kept in memory only, so it begins with the
 * start of the process.
 *
 * @module
 */

/** Most users that are remembered; above it those that were seen longest ago are forgotten. */
const MOST = 50_000;

/** The last requests. */
export class Seen {
  readonly #at = new Map<string, number>();
  readonly #now: () => Date;
  readonly #most: number;

  /** Begins with none. */
  constructor(now: () => Date, most = MOST) {
    this.#now = now;
    this.#most = most;
  }

  /** Notes a request of a user whose signature and permission were checked. */
  note(signPub: string): void {
    // Moves it to the end: the map's order is that of the last requests.
    this.#at.delete(signPub);
    this.#at.set(signPub, this.#now().getTime());
    if (this.#at.size <= this.#most) return;
    this.#at.delete(this.#at.keys().next().value!);
  }

  /** Returns the time of a user's last request; null if there was none. */
  of(signPub: string): string | null {
    const at = this.#at.get(signPub);
    return at === undefined ? null : new Date(at).toISOString();
  }
}
