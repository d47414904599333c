/**
 * Continues the chain of the history from a known place to its end.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { headAfter } from "../core/history/chain.ts";
import { compareRevisionTexts, parseRevision, revisionOfEnd } from "../core/history/revision.ts";
import type { ChainEnd, HistorySource } from "../core/history/source.ts";
import { isSigned } from "./heads.ts";

/**
 * Returns the end of the chain, continued from an end that was known.
 *
 * @throws {StoreError} `mismatch`: the history does not continue it, so it was changed
 */
export async function continueChain(
  source: HistorySource,
  from: ChainEnd,
  signal?: AbortSignal,
): Promise<ChainEnd> {
  const start = await source.start();
  const isKept = start.revision === null ||
    (from.revision !== null && compareRevisionTexts(from.revision, start.revision) > 0);
  let { revision, head } = isKept ? from : start;
  if (isKept && revision !== null && !await has(source, revision)) {
    throw changed(`revision ${revision} is missing`);
  }
  const after = revisionOfEnd({ revision });
  for await (const { entry, head: stored } of source.walk(after, signal)) {
    head = headAfter(head, entry);
    if (stored !== null && stored !== head) {
      throw changed(`revision ${entry.revision} does not continue the one before it`);
    }
    revision = entry.revision;
  }
  signal?.throwIfAborted();
  return { revision, head };
}

/** Returns whether there is an entry. */
async function has(source: HistorySource, revision: string): Promise<boolean> {
  const { generation, number } = parseRevision("revision", revision);
  const after = { generation, number: number - 1 };
  const [found] = await source.page({ ...ANY, after, limit: 1 });
  return found?.revision === revision;
}

/**
 * Returns the end of the chain, continued from the newest head that a key signed, so that not all of a long
 * history is read.
 *
 * @param key The key that signs, hex; null for none
 * @throws {StoreError} `mismatch`: the history does not continue that head, so it was changed
 */
export async function signedEnd(
  source: HistorySource,
  key: string | null,
  signal?: AbortSignal,
): Promise<ChainEnd> {
  const signed = (await source.heads()).filter((it) => it.key === key && isSigned(it))
    .sort((a, b) => compareRevisionTexts(a.revision!, b.revision!)).at(-1);
  return signed === undefined ? await source.head() : await continueChain(source, signed, signal);
}

function changed(what: string): StoreError {
  return new StoreError("mismatch", `Reading the end of the history: ${what}`, {
    hint: "run membershipd log verify",
  });
}

/** Every entry, the oldest first. */
export const ANY = {
  after: null,
  before: null,
  newest: false,
  user: null,
  room: null,
  invite: null,
  by: null,
  action: null,
  since: null,
} as const;
