/**
 * Where a bucket's history was cut by the last pruning.
 *
 * @module
 */

import { FIRST_HEAD } from "../../core/history/chain.ts";
import type { ChainEnd } from "../../core/history/source.ts";
import { alive, type Entry } from "../log/bucket.ts";
import { CUT_KEY } from "../records/keys.ts";
import { parseValue, VALUE_VERSION } from "../records/values.ts";

/** Encodes where the history was cut. */
export function encodeCut(end: ChainEnd): string {
  return JSON.stringify({ v: VALUE_VERSION, ...end });
}

/** Decodes where the history was cut. */
export function decodeCut(entry: Entry | null): ChainEnd {
  const live = alive(entry);
  if (live === null) return { revision: null, head: FIRST_HEAD };
  const { revision, head } = parseValue(CUT_KEY, live.data);
  return { revision, head };
}
