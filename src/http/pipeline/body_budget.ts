/**
 * The memory that request bodies may take: all of them together, and those of one key.
 *
 * @module
 */

import { Refusal } from "./problem.ts";

/** A body above this is large. */
const LARGE_BYTES = 256 * 1024;
/** Large bodies that one key may send at once. */
const LARGE_AT_ONCE = 2;
/** One key may hold this part of the memory. */
const PART_OF_ONE = 1 / 4;
/** What a body takes at least, with what the runtime keeps for it. */
const LEAST_BYTES = 4096;

/** What one body takes; given back with {@link BodyShare.close}. */
export interface BodyShare {
  /**
   * Notes that the body takes `bytes` in all.
   *
   * @throws {StoreError} `unavailable`: all bodies together would take too much; `rate_limited`: those
   * of this key would
   */
  hold(bytes: number): void;
  /** Notes that the body is large, or will be: `rate_limited` when the key has too many of them. */
  large(): void;
  /** Gives everything back. Idempotent. */
  close(): void;
}

interface Holder {
  bytes: number;
  large: number;
  bodies: number;
}

/** Counts the memory of bodies from their first byte until their request has been answered. */
export class BodyBudget {
  readonly #most: number;
  readonly #holders = new Map<string, Holder>();
  #bytes = 0;

  /** @param most Bytes that all bodies together may take */
  constructor(most: number) {
    this.#most = most;
  }

  /** Bytes taken now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param key Who sends the body; null where that is not known, and only the total counts */
  open(key: string | null): BodyShare {
    const holder = key === null ? null : this.#holderOf(key);
    let held = 0;
    let isLarge = false;
    let isOpen = true;
    const large = () => {
      if (isLarge || holder === null) return;
      if (holder.large >= LARGE_AT_ONCE) {
        throw tooMuch(
          `One key may send ${LARGE_AT_ONCE} bodies of more than ${LARGE_BYTES} bytes at once`,
        );
      }
      isLarge = true;
      holder.large++;
    };
    return {
      large,
      hold: (bytes) => {
        const more = Math.max(bytes, LEAST_BYTES) - held;
        if (more <= 0) return;
        if (bytes > LARGE_BYTES) large();
        const mine = this.#most * PART_OF_ONE;
        if (holder !== null && holder.bytes + more > mine) {
          throw tooMuch(`The bodies that one key sends at once must be at most ${mine} bytes`);
        }
        if (this.#bytes + more > this.#most) {
          throw new Refusal(
            "unavailable",
            `Request bodies already use the maximum of ${this.#most} bytes`,
            {
              reason: "overloaded",
              retryAfter: 1,
            },
          );
        }
        held += more;
        this.#bytes += more;
        if (holder !== null) holder.bytes += more;
      },
      close: () => {
        if (!isOpen) return;
        isOpen = false;
        this.#bytes -= held;
        if (holder === null) return;
        holder.bytes -= held;
        if (isLarge) holder.large--;
        if (--holder.bodies === 0) this.#holders.delete(key!);
      },
    };
  }

  #holderOf(key: string): Holder {
    let holder = this.#holders.get(key);
    if (holder === undefined) {
      holder = { bytes: 0, large: 0, bodies: 0 };
      this.#holders.set(key, holder);
    }
    holder.bodies++;
    return holder;
  }
}

/** Whether a body of this length is large. */
export function isLarge(headers: Headers): boolean {
  return Number(headers.get("content-length") ?? 0) > LARGE_BYTES;
}

function tooMuch(message: string): Refusal {
  return new Refusal("rate_limited", message, { reason: "bodies", retryAfter: 1 });
}
