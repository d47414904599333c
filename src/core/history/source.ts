/**
 * The part of a backend that reads its history.
 *
 * @module
 */

import { StoreError } from "../errors.ts";
import type { Author, HistoryAction, HistoryEntry } from "./entry.ts";
import { compareRevisions, type Revision } from "./revision.ts";

/** Which entries a page has; `null` for any. */
export interface HistoryRange {
  /** Only entries after this one. */
  after: Revision | null;
  /** Only entries before this one. */
  before: Revision | null;
  /** The newest first. */
  newest: boolean;
  /** Only those about this user or member. */
  user: string | null;
  /** Only those about this room. */
  room: string | null;
  /** Only those about this invite. */
  invite: string | null;
  /** Only those of this author. */
  by: string | null;
  /** Only this action. */
  action: HistoryAction | null;
  /** Only those made at this time or later, ISO 8601. */
  since: string | null;
  /** At most this many. */
  limit: number;
}

const FILTERS = ["user", "room", "invite", "by", "action"] as const;

/** Whether an entry is one of those that filters ask for; `null` or nothing asks for any. */
export function isWanted(
  entry: HistoryEntry,
  filters: { [K in typeof FILTERS[number] | "since"]?: string | null },
): boolean {
  return FILTERS.every((it) => (filters[it] ?? entry[it]) === entry[it]) &&
    entry.at >= (filters.since ?? "");
}

/** Which entries a pruning removes; null for no such limit. */
export interface PruneRange {
  /** Those made before this time, ISO 8601. */
  before: string | null;
  /** All but the newest so many. */
  keep: number | null;
  /**
   * All of them, without reading them: what cannot be read goes too. The chain continues from the head that
   * a node signed last, if that is the end, or from the first head.
   */
  all: boolean;
}

/** An end of the hash chain. */
export interface ChainEnd {
  /** The revision of the last entry in it; null for none. */
  revision: string | null;
  /** The head after that entry, hex. */
  head: string;
}

/** An entry as stored. */
export interface StoredEntry {
  /** The entry. */
  entry: HistoryEntry;
  /** The head stored with it, hex; null if none is stored. */
  head: string | null;
}

/** A head of the chain, signed by a node. */
export interface SignedHead extends ChainEnd {
  /** The node's name. */
  node: string;
  /** When, ISO 8601. */
  at: string;
  /** The key that signed, hex. */
  key: string;
  /** The signature, base64url. */
  signature: string;
}

/** Something that is wrong with a history. */
export interface HistoryProblem {
  /** The first revision that cannot be right; null if there is none in the history. */
  revision: string | null;
  /** What was found. */
  message: string;
}

/** Reads and prunes the history of a backend. Entries are in the order of their revisions. */
export interface HistorySource {
  /**
   * Returns entries.
   *
   * @throws {StoreError} `too_old`: entries after `after` have been pruned
   */
  page(range: HistoryRange): Promise<HistoryEntry[]>;
  /**
   * Iterates over entries as they are made, in batches. Ends when the signal is aborted.
   *
   * @throws {StoreError} `too_old`: entries after `after` have been pruned
   */
  follow(after: Revision | null, signal: AbortSignal): AsyncIterable<HistoryEntry[]>;
  /** Returns the end of the chain. */
  head(): Promise<ChainEnd>;
  /** Returns where the oldest kept entry continues: the end of what was pruned. */
  start(): Promise<ChainEnd>;
  /** Iterates over all entries that are kept, as stored. */
  walk(after: Revision | null, signal?: AbortSignal): AsyncIterable<StoredEntry>;
  /**
   * Removes the oldest entries: those made before `before`, and all but the newest `keep`. Adds an entry
   * that says so. Returns how many were removed.
   */
  prune(which: PruneRange, author: Author): Promise<number>;
  /** Returns the newest signed head of each node. */
  heads(): Promise<SignedHead[]>;
  /** Stores a signed head in the place of the node's earlier one. */
  sign(head: SignedHead): Promise<void>;
  /** Returns what is wrong in ways that only this backend knows, such as gaps. Absent if it knows none. */
  check?(signal?: AbortSignal): AsyncIterable<HistoryProblem>;
}

/**
 * Returns the history of a backend.
 *
 * @throws {StoreError} `unsupported`: it keeps none
 */
export function sourceOf(
  { history, name }: { history?: HistorySource | undefined; name: string },
): HistorySource {
  if (history !== undefined) return history;
  throw new StoreError("unsupported", `No history is kept in this store (${name})`, {
    hint: "open it without `history: false`",
  });
}

/**
 * Throws if entries after a revision have been pruned.
 *
 * @param start Where the oldest kept entry continues; null if nothing was pruned
 * @throws {StoreError} `too_old`
 */
export function requireKept(after: Revision | null, start: Revision | null): void {
  if (after === null || start === null || compareRevisions(after, start) >= 0) return;
  throw new StoreError(
    "too_old",
    `Reading the history after ${after.generation}.${after.number}: it was pruned up to ` +
      `${start.generation}.${start.number}`,
    { field: "after", hint: "begin again from the oldest entry" },
  );
}
