/**
 * Keeps texts in the order of lists, in small sorted pieces. Adding a text costs about the same in a set
 * of a million, and all of them are never sorted at once, which would block the event loop for seconds.
 *
 * @module
 */

import { compareText } from "../../core/order.ts";

/** Maximum number of texts in a piece; a larger one is split. */
const MOST = 512;

/** A set of texts, ordered as UTF-8 bytes. */
export class SortedTexts {
  #pieces: string[][] = [];

  /** Adds a text, unless it is there. */
  add(text: string): void {
    const pieces = this.#pieces;
    const last = pieces.at(-1);
    // Texts usually arrive in order.
    const at = last === undefined || compareText(last.at(-1)!, text) < 0
      ? pieces.length - 1
      : this.#pieceOf(text);
    const piece = pieces[at];
    if (piece === undefined) {
      pieces.push([text]);
      return;
    }
    const index = upperBound(piece, (it) => it, text);
    if (piece[index - 1] === text) return;
    if (index === piece.length) piece.push(text);
    else piece.splice(index, 0, text);
    if (piece.length <= MOST) return;
    const isEnd = at === pieces.length - 1 && index === piece.length - 1;
    pieces.splice(at + 1, 0, piece.splice(isEnd ? MOST : MOST / 2));
  }

  /** Removes a text, if it is there. */
  delete(text: string): void {
    const at = this.#pieceOf(text);
    const piece = this.#pieces[at];
    if (piece === undefined) return;
    const index = upperBound(piece, (it) => it, text) - 1;
    if (piece[index] !== text) return;
    piece.splice(index, 1);
    if (piece.length === 0) this.#pieces.splice(at, 1);
  }

  /** Removes them all. */
  clear(): void {
    this.#pieces = [];
  }

  /** Returns up to `limit` texts after `after`, or the first ones for `null`. */
  after(after: string | null, limit: number): string[] {
    const found: string[] = [];
    let at = after === null ? 0 : this.#pieceOf(after);
    let index = after === null || this.#pieces.length === 0
      ? 0
      : upperBound(this.#pieces[at]!, (it) => it, after);
    for (; at < this.#pieces.length && found.length < limit; at++, index = 0) {
      found.push(...this.#pieces[at]!.slice(index, index + limit - found.length));
    }
    return found;
  }

  /** Returns the index of the piece that a text belongs to; 0 if there are no pieces. */
  #pieceOf(text: string): number {
    return Math.max(0, upperBound(this.#pieces, (it) => it[0]!, text) - 1);
  }
}

/** Returns the index of the first item after `text`. */
function upperBound<T>(items: T[], textOf: (it: T) => string, text: string): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareText(textOf(items[middle]!), text) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
