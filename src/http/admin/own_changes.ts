/**
 * Which of the changes that a store tells of were made by requests of this process.
 *
 * @module
 */

import type { AccessChange } from "../../core/model.ts";

/** A change is told within a quarter of a second after it was made; with a margin, milliseconds. */
const TOLD_WITHIN_MS = 2_000;
/** Before more than this are remembered, those that have lapsed are forgotten. */
const MANY = 1_000;

/** Stands for more people than a request names. */
const ANYBODY = "*";

interface Claim {
  underWay: number;
  until: number;
}

/** The changes of this process, under way and just made. */
export class OwnChanges {
  readonly #claims = new Map<string, Claim>();
  #sweepAt = MANY;

  /**
   * Notes a change that begins, of these endpoints (`null`: of some that are not known) and this room.
   * Returns what notes its end, and whether anything may have been changed.
   */
  begin(
    endpoints: readonly string[] | null,
    room: string | undefined,
  ): (isChanged: boolean) => void {
    this.#sweep();
    const keys = (endpoints ?? [ANYBODY]).map((it) => `e${it}`);
    if (room !== undefined) keys.push(`r${room}`);
    for (const key of keys) {
      const claim = this.#claims.get(key);
      if (claim === undefined) this.#claims.set(key, { underWay: 1, until: 0 });
      else claim.underWay++;
    }
    return (isChanged) => {
      const until = performance.now() + TOLD_WITHIN_MS;
      for (const key of keys) {
        const claim = this.#claims.get(key);
        if (claim === undefined) continue;
        claim.underWay--;
        // Else one could hide what happens elsewhere by trying in vain.
        if (isChanged) claim.until = until;
      }
    };
  }

  /** Whether a change was made here, as far as can be told. */
  covers({ endpoint, roomId }: AccessChange): boolean {
    if (endpoint !== undefined) return this.#is(`e${endpoint}`) || this.#is(`e${ANYBODY}`);
    return roomId !== undefined && this.#is(`r${roomId}`);
  }

  #is(key: string): boolean {
    const claim = this.#claims.get(key);
    return claim !== undefined && (claim.underWay > 0 || performance.now() < claim.until);
  }

  #sweep(): void {
    if (this.#claims.size < this.#sweepAt) return;
    const now = performance.now();
    for (const [key, { underWay, until }] of this.#claims) {
      if (underWay === 0 && until <= now) this.#claims.delete(key);
    }
    // Twice what is left: however many there are, a sweep costs little of each.
    this.#sweepAt = Math.max(MANY, 2 * this.#claims.size);
  }
}
