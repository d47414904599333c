/**
 * Texts in the order of lists, in pieces: adding one costs the same among a hundred and among a million,
 * and nothing ever sorts them all, which would stop the process for seconds.
 *
 * @module
 */

import { compareText } from "../../core/order.ts";

/** Most texts of a piece; a full one is halved. */
const MOST = 512;

/** A set of texts, ordered as UTF-8 bytes. */
export class SortedTexts {
  #pieces: string[][] = [];

  /** Adds a text, unless it is there. */
  add(text: string): void {
    const pieces = this.#pieces;
    const last = pieces.at(-1);
    // Most come in order.
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

  /** The first texts behind `after`, or of all for `null`, at most `limit`. */
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

  /** Index of the piece that a text belongs in; 0 where there is none. */
  #pieceOf(text: string): number {
    return Math.max(0, upperBound(this.#pieces, (it) => it[0]!, text) - 1);
  }
}

/** Index of the first item behind `text`. */
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
