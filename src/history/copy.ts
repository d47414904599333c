/**
 * Compares the history with another copy of it, entry by entry.
 *
 * @module
 */

import { compareRevisionTexts, type Revision } from "../core/history/revision.ts";
import type { HistorySource, StoredEntry } from "../core/history/source.ts";
import type { HistoryProblem } from "./types.ts";

/** Another copy of the history, with stored heads. It may begin later and end earlier. */
export class Copy {
  readonly #entries: AsyncIterator<StoredEntry>;
  readonly #end: string | null;
  #next: StoredEntry | null = null;
  /** Whether an entry was found in both, from which on they must be the same. */
  #isAligned = false;
  #differs = false;

  private constructor(entries: AsyncIterable<StoredEntry>, end: string | null) {
    this.#entries = entries[Symbol.asyncIterator]();
    this.#end = end;
  }

  /** Opens a copy before the history is read, so that this has all entries of the copy. */
  static async open(
    source: Pick<HistorySource, "head" | "walk">,
    after: Revision | null,
  ): Promise<Copy> {
    const { revision } = await source.head();
    const copy = new Copy(source.walk(after), revision);
    await copy.#read();
    return copy;
  }

  /** Compares an entry of the history by the head after it. Reports the first difference only. */
  async compare(revision: string, head: string | null): Promise<HistoryProblem | null> {
    while (this.#next !== null && compareRevisionTexts(this.#next.entry.revision, revision) < 0) {
      if (this.#isAligned) return this.#dropped(this.#next);
      await this.#read();
    }
    if (this.#next === null || this.#differs) return null;
    const { entry, head: other } = this.#next;
    if (entry.revision !== revision) {
      if (!this.#isAligned) return null;
      return this.#tell(revision, `Revision ${revision} was inserted: the second copy lacks it`);
    }
    this.#isAligned = true;
    await this.#read();
    if (head === null || other === null || head === other) return null;
    return this.#tell(
      revision,
      `Revision ${revision} was changed: the second copy has another one`,
    );
  }

  /** Reports an entry of the copy behind the end of the history. */
  async rest(end: string | null): Promise<HistoryProblem | null> {
    while (
      this.#next !== null && end !== null &&
      compareRevisionTexts(this.#next.entry.revision, end) <= 0
    ) await this.#read();
    return this.#next === null ? null : this.#dropped(this.#next);
  }

  /** Ends reading. */
  async close(): Promise<void> {
    await this.#entries.return?.();
  }

  #dropped({ entry: { revision } }: StoredEntry): HistoryProblem | null {
    return this.#tell(revision, `Revision ${revision} was dropped: the second copy has it`);
  }

  #tell(revision: string, message: string): HistoryProblem | null {
    if (this.#differs) return null;
    this.#differs = true;
    return { revision, message };
  }

  async #read(): Promise<void> {
    const { value, done } = await this.#entries.next();
    // What the copy has got since is not compared.
    const isIn = !done && this.#end !== null &&
      compareRevisionTexts(value.entry.revision, this.#end) <= 0;
    this.#next = isIn ? value : null;
  }
}
