/**
 * What the chain of the history is compared with: heads that nodes signed and heads that somebody kept.
 *
 * @module
 */

import { compareRevisionTexts } from "../core/history/revision.ts";
import type { ChainEnd, SignedHead } from "../core/history/source.ts";
import { isSigned, type KeptHead } from "./heads.ts";
import type { HistoryProblem, Witness } from "./types.ts";

/** Heads by revision, and what became of each. */
export class Witnesses {
  readonly #waiting = new Map<string, Witness[]>();
  /** All of them, in the order in which they were given. */
  readonly all: Witness[] = [];
  /** What is wrong with the heads themselves. */
  readonly problems: HistoryProblem[] = [];

  /**
   * @param stored The heads in the store
   * @param kept The heads that were kept elsewhere
   * @param keys The keys, hex, that may sign stored heads; null for any
   */
  constructor(
    stored: readonly SignedHead[],
    kept: readonly KeptHead[],
    keys: readonly string[] | null,
  ) {
    for (const head of kept) this.#add(head, "kept", null);
    for (const head of stored) this.#add(head, "stored", keys);
  }

  #add(head: KeptHead, from: Witness["from"], keys: readonly string[] | null): void {
    const { node, revision, at, key } = head;
    // A node with an empty history signs nothing.
    const witness: Witness = {
      node,
      revision: revision ?? "0.0",
      head: head.head,
      at,
      from,
      signed: key !== null,
      found: null,
    };
    this.all.push(witness);
    const isByKey = key === null || isSigned(head);
    if (isByKey && (keys?.includes(key!) ?? true)) {
      const others = this.#waiting.get(witness.revision) ?? [];
      this.#waiting.set(witness.revision, [...others, witness]);
      return;
    }
    witness.found = isByKey ? "other_key" : "bad_signature";
    const why = isByKey ? `is signed by another key, ${key}` : "has an invalid signature";
    this.#tell(witness, `The head of revision ${witness.revision} of ${nameOf(witness)} ${why}`);
  }

  /** Returns the heads of a revision, which count as compared from now on. */
  at(revision: string): Witness[] {
    const found = this.#waiting.get(revision) ?? [];
    this.#waiting.delete(revision);
    return found;
  }

  /**
   * Judges the heads of revisions that were not met.
   *
   * @param start Where the oldest entry continues; null if the walk began later
   * @param end The end of the chain
   */
  judgeRest(start: ChainEnd | null, end: ChainEnd): void {
    for (const witness of [...this.#waiting.values()].flat()) {
      const { revision, head } = witness;
      const isAfter = (it: ChainEnd) =>
        it.revision === null || compareRevisionTexts(revision, it.revision) > 0;
      const who = `${nameOf(witness)} had revision ${revision} at ${witness.at}`;
      if (isAfter(end)) {
        witness.found = "missing";
        this.#tell(
          witness,
          end.revision === null
            ? `${who}, but the history is empty`
            : `${who}, but the history ends at ${end.revision}: what came after it is missing`,
          end.revision,
        );
      } else if (start === null) {
        continue;
      } else if (isAfter(start)) {
        witness.found = "missing";
        this.#tell(witness, `${who}, but there is no such entry`);
      } else if (revision === start.revision && head !== start.head) {
        witness.found = "different";
        this.#tell(witness, `${who}, with another head than the history was cut at`);
      } else {
        witness.found = revision === start.revision ? "equal" : "pruned";
      }
    }
    this.#waiting.clear();
  }

  #tell({ revision }: Witness, message: string, at: string | null = revision): void {
    this.problems.push({ revision: at, message });
  }
}

/** Names the head's origin in messages. */
export function nameOf({ node, from }: Witness): string {
  return from === "kept" ? `the kept head of node ${node}` : `node ${node}`;
}
