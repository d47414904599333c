/**
 * Who has a room open now, as far as they say so: pages send a signal to the room when they open it, every
 * half minute, and when they are closed. `docs/people.md` describes it for programs.
 *
 * @module
 */

/** What a signal says. `hello` asks the others to say that they are here. */
export type Sign = "here" | "hello" | "bye";

/** Between two signals, milliseconds. */
export const SIGN_MS = 30_000;
/** Somebody who was not heard for this long is not here. */
const GONE_MS = 75_000;
/** In a larger room nothing is said: every member would hear all of them. */
export const MOST_MEMBERS = 50;

const FIRST = "unibus presence v1 ";
const SIGNS: readonly Sign[] = ["here", "hello", "bye"];

/** The content of a signal. */
export function formatSign(sign: Sign): string {
  return FIRST + sign;
}

/** Reads it; null for the signal of another program. */
export function parseSign(data: Uint8Array): Sign | null {
  const text = new TextDecoder().decode(data.subarray(0, 64));
  return SIGNS.find((it) => text === formatSign(it)) ?? null;
}

/** Who is here. */
export class Presence {
  readonly #until = new Map<string, number>();

  /** Notes a signal, or with `here` a message. */
  heard(endpoint: string, sign: Sign, now: number = Date.now()): void {
    if (sign === "bye") this.#until.delete(endpoint);
    else this.#until.set(endpoint, now + GONE_MS);
  }

  /** Returns the endpoints of those who are here. */
  here(now: number = Date.now()): string[] {
    for (const [endpoint, until] of this.#until) {
      if (until <= now) this.#until.delete(endpoint);
    }
    return [...this.#until.keys()];
  }
}
