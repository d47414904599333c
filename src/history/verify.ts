/**
 * Verifies the history: walks the chain and compares it with the heads that were stored, signed and kept.
 *
 * @module
 */

import { isStoreError } from "../core/errors.ts";
import { headAfter } from "../core/history/chain.ts";
import type { HistoryEntry } from "../core/history/entry.ts";
import { compareRevisionTexts, parseRevision, type Revision } from "../core/history/revision.ts";
import {
  type ChainEnd,
  type HistorySource,
  sourceOf,
  type StoredEntry,
} from "../core/history/source.ts";
import type { Store } from "../core/store.ts";
import { switchOf } from "../core/store/switching.ts";
import { Copy } from "./copy.ts";
import { ANY } from "./continue.ts";
import type { HistoryProblem, HistoryReport, VerifyHistoryOptions } from "./types.ts";
import { nameOf, Witnesses } from "./witnesses.ts";

/** Problems that are reported at most. */
const PROBLEMS = 100;
/** How often it begins again because the history was pruned meanwhile. */
const TRIES = 5;
/** Entries in a page, and between two reports of progress. */
const PAGE = 1000;

/**
 * Verifies the history of a store: that each entry continues the chain, and that the chain agrees with the
 * heads that nodes signed and the heads that were kept. It names the first revision at which an entry was
 * changed, dropped, inserted or put back.
 *
 * @throws {StoreError} `unsupported`: the store keeps no history; `aborted`
 *
 * @example
 * ```ts
 * import { openSqlite, verifyHistory } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * await store.createInvite({ createdBy: "cli", role: "admin" });
 * const { entries, problems } = await verifyHistory(store);
 * if (entries !== 1 || problems.length > 0) throw new Error("unreachable");
 * ```
 */
export async function verifyHistory(
  store: Store,
  options: VerifyHistoryOptions = {},
): Promise<HistoryReport> {
  for (let tries = 1;; tries++) {
    try {
      return await new Verification(sourceOf(switchOf(store).current), options).run(
        store.generation,
      );
    } catch (error) {
      if (!isStoreError(error, "too_old") || tries === TRIES) throw error;
    }
  }
}

class Verification {
  readonly #source: HistorySource;
  readonly #options: VerifyHistoryOptions;
  readonly #problems: HistoryProblem[] = [];
  /** Where the chain is; the head is null until the first one is known. */
  #at: { revision: string | null; head: string | null };
  /** The last revision that somebody's head agreed with. */
  #agreed: string | null = null;
  /** Where the entries say that the history was cut. */
  #cuts = new Map<string, unknown>();
  #entries = 0;

  constructor(source: HistorySource, options: VerifyHistoryOptions) {
    this.#source = source;
    this.#options = options;
    this.#at = { revision: null, head: null };
  }

  async run(generation: number): Promise<HistoryReport> {
    const { kept = [], keys = null, last, signal, onProgress } = this.#options;
    // Before the walk, which then comes to all of them.
    const witnesses = new Witnesses(await this.#source.heads(), kept, keys);
    const start = await this.#source.start();
    const after = last === undefined ? null : await this.#before(last);
    if (after === null) this.#at = { ...start };
    const copy = this.#options.copy && await Copy.open(this.#options.copy, after);
    const isRead = await this.#reads(async () => {
      for await (const stored of this.#source.walk(after, signal)) {
        signal?.throwIfAborted();
        this.#enter(stored, witnesses);
        this.#note(await copy?.compare(stored.entry.revision, this.#at.head));
        if (++this.#entries % PAGE === 0) onProgress?.(this.#entries);
      }
      signal?.throwIfAborted();
      this.#note(await copy?.rest(this.#at.revision));
    }).finally(() => copy?.close());
    // Also where the history cannot be read: this names all such places.
    const isChecked = after !== null || await this.#reads(async () => {
      for await (const problem of this.#source.check?.(signal) ?? []) this.#note(problem);
    });
    const isWhole = isRead && isChecked;
    const end = { revision: this.#at.revision, head: this.#at.head ?? start.head };
    if (isWhole) {
      witnesses.judgeRest(after === null ? start : null, end);
      if (after === null && this.#problems.length === 0) this.#judgeCut(start);
      const last = end.revision;
      if (last !== null && parseRevision("revision", last).generation > generation) {
        this.#tell(last, `Revision ${last} was inserted: the store is of generation ${generation}`);
      }
    }
    const problems = [...this.#problems, ...witnesses.problems].sort(byRevision);
    return {
      entries: this.#entries,
      start,
      end,
      witnesses: witnesses.all,
      problems: problems.slice(0, PROBLEMS),
    };
  }

  /** Reads; returns false, and tells why, if the history cannot be read to its end. */
  async #reads(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!isStoreError(error, "corrupt") && !isStoreError(error, "invalid")) throw error;
      const { revision } = this.#at;
      const where = revision === null ? "at its beginning" : `after revision ${revision}`;
      this.#tell(revision, `The history cannot be read ${where}: ${error.message}`);
      return false;
    }
  }

  /** Adds an entry to the chain. */
  #enter({ entry, head: stored }: StoredEntry, witnesses: Witnesses): void {
    const { revision } = entry;
    const { revision: last, head } = this.#at;
    const isLater = last === null || compareRevisionTexts(revision, last) > 0;
    if (!isLater) {
      this.#tell(revision, `Revision ${revision} comes after ${last}: it was inserted`);
    }
    let next = head === null ? stored : headAfter(head, entry);
    if (stored !== null && stored !== next) {
      const from = last === null ? "the beginning" : `revision ${last}`;
      this.#tell(
        revision,
        `Revision ${revision} does not continue ${from}: it was changed, or an entry between them was ` +
          "dropped or inserted",
      );
      // What follows is judged by itself.
      next = stored;
    }
    for (const witness of witnesses.at(revision)) {
      // Where nothing is stored, the first head that was signed is where a part of the chain begins.
      next ??= witness.head;
      witness.found = witness.head === next ? "equal" : "different";
      if (witness.found === "equal") {
        this.#agreed = revision;
        continue;
      }
      const since = this.#agreed === null ? "" : `after ${this.#agreed} and `;
      this.#tell(
        revision,
        `An entry ${since}up to revision ${revision} was changed, dropped or inserted: ` +
          `${nameOf(witness)} had another head at ${witness.at}`,
      );
      if (stored === null) next = witness.head;
    }
    if (entry.action === "history.pruned") this.#noteCut(entry);
    this.#at = { revision: isLater ? revision : last, head: next };
  }

  #noteCut({ after }: HistoryEntry): void {
    this.#cuts.set(String(after?.upTo), after?.head);
  }

  /** What was pruned must be told by an entry; otherwise somebody removed the oldest entries. */
  #judgeCut({ revision, head }: ChainEnd): void {
    if (revision === null || this.#cuts.get(revision) === head) return;
    this.#tell(
      revision,
      `The history begins after revision ${revision}, but no entry says that it was pruned there`,
    );
  }

  #tell(revision: string | null, message: string): void {
    this.#note({ revision, message });
  }

  #note(problem: HistoryProblem | null | undefined): void {
    if (problem) this.#problems.push(problem);
  }

  /** Returns the revision before the newest `count` entries; null if there are no more. */
  async #before(count: number): Promise<Revision | null> {
    let before: Revision | null = null;
    for (let left = count + 1; left > 0;) {
      const limit = Math.min(left, PAGE);
      const page = await this.#source.page({ ...ANY, newest: true, before, limit });
      if (page.length < limit) return null;
      before = parseRevision("revision", page.at(-1)!.revision);
      left -= limit;
    }
    return before;
  }
}

function byRevision(a: HistoryProblem, b: HistoryProblem): number {
  if (a.revision === null || b.revision === null) {
    return +(b.revision === null) - +(a.revision === null);
  }
  return compareRevisionTexts(a.revision, b.revision);
}
