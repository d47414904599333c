/**
 * Compares the histories of two stores.
 *
 * @module
 */

import type { Store } from "../../../mod.ts";
import type { HistoryEntry } from "../../../src/core/history/entry.ts";
import { compareRevisionTexts } from "../../../src/core/history/revision.ts";
import type { HistorySource, StoredEntry } from "../../../src/core/history/source.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import type { ComparedHistory } from "../../store/compare.ts";

/** Compares the entries that neither store has pruned; `null` if one of them keeps no history. */
export async function compareHistories(
  left: Store,
  right: Store,
  signal: AbortSignal,
): Promise<ComparedHistory | null> {
  const a = switchOf(left).history;
  const b = switchOf(right).history;
  if (a === undefined || b === undefined) return null;
  const cut = later((await a.start()).revision, (await b.start()).revision);
  await using one = new Side(a, cut, signal);
  await using other = new Side(b, cut, signal);
  let entries = 0;
  await Promise.all([one.next(), other.next()]);
  for (;;) {
    const [x, y] = [one.entry, other.entry];
    if (x === null && y === null) return { equal: true, entries, differs: null };
    const order = x === null ? 1 : y === null ? -1 : compareRevisionTexts(x.revision, y.revision);
    if (order === 0 && JSON.stringify(x) === JSON.stringify(y)) {
      entries++;
      await Promise.all([one.next(), other.next()]);
      continue;
    }
    const alone = order <= 0 ? x! : y!;
    const isEnd = order < 0 ? y === null : order > 0 && x === null;
    if (!isEnd || alone.action !== "store.moved") {
      return { equal: false, entries, differs: alone.revision };
    }
    await (order < 0 ? one : other).next();
  }
}

function later(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  return compareRevisionTexts(a, b) < 0 ? b : a;
}

/** One of the two and its current entry. */
class Side implements AsyncDisposable {
  entry: HistoryEntry | null = null;
  readonly #entries: AsyncIterator<StoredEntry>;
  readonly #cut: string | null;

  constructor(source: HistorySource, cut: string | null, signal: AbortSignal) {
    this.#entries = source.walk(null, signal)[Symbol.asyncIterator]();
    this.#cut = cut;
  }

  async next(): Promise<void> {
    do {
      const { done, value } = await this.#entries.next();
      this.entry = done ? null : value.entry;
    } while (
      this.entry !== null && this.#cut !== null &&
      compareRevisionTexts(this.entry.revision, this.#cut) <= 0
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#entries.return?.();
  }
}
