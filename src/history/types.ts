/**
 * What a verification of the history is asked and answers.
 *
 * @module
 */

import type { ChainEnd, HistoryProblem, HistorySource } from "../core/history/source.ts";
import type { KeptHead } from "./heads.ts";

export type { HistoryProblem, KeptHead };

/** Options of {@link verifyHistory}. */
export interface VerifyHistoryOptions {
  /** Heads that were kept elsewhere. Without one, nobody notices a store that was put back as a whole. */
  kept?: readonly KeptHead[];
  /** Public keys, hex, that may sign the store's heads. Default: any key. */
  keys?: readonly string[];
  /** Another copy of the history, such as a follower's, to find the first entry that differs. */
  copy?: Pick<HistorySource, "head" | "walk">;
  /** Verify only about so many of the newest entries. Default: all. */
  last?: number;
  /** Aborts it. */
  signal?: AbortSignal;
  /** Called with the number of entries verified so far. */
  onProgress?: (done: number) => void;
}

/** A head that the history was compared with. */
export interface Witness {
  /** The node that signed it. */
  node: string;
  /** Its revision. */
  revision: string;
  /** The head, hex. */
  head: string;
  /** When it was signed. */
  at: string;
  /** Whether it was in the store, or kept elsewhere. */
  from: "stored" | "kept";
  /** Whether it has a signature; only one that was kept may have none. */
  signed: boolean;
  /**
   * What was found: `equal`; `pruned`, its entry has been removed since; `different`; `missing`;
   * `bad_signature`; `other_key`; null if it was not compared.
   */
  found: "equal" | "pruned" | "different" | "missing" | "bad_signature" | "other_key" | null;
}

/** The result of {@link verifyHistory}. */
export interface HistoryReport {
  /** How many entries were verified. */
  entries: number;
  /** Where the oldest of them continues. */
  start: ChainEnd;
  /** The end of the chain. */
  end: ChainEnd;
  /** The heads that it was compared with. */
  witnesses: Witness[];
  /** The problems, the earliest revision first, at most a hundred. Empty: none was found. */
  problems: HistoryProblem[];
}
