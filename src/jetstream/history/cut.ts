/**
 * Where a bucket's history was cut by the last pruning, and up to where a repair wrote it back.
 *
 * @module
 */

import { FIRST_HEAD } from "../../core/history/chain.ts";
import type { ChainEnd } from "../../core/history/source.ts";
import { alive, type Entry } from "../log/bucket.ts";
import { CUT_KEY } from "../records/keys.ts";
import { parseValue, VALUE_VERSION } from "../records/values.ts";

/** Where the oldest kept entry continues. */
export interface Cut extends ChainEnd {
  /** The last entry that a repair wrote back from a second copy; missing if there is none. */
  restored?: ChainEnd;
}

/** Encodes where the history was cut. */
export function encodeCut(cut: Cut): string {
  return JSON.stringify({ v: VALUE_VERSION, ...cut });
}

/** Decodes where the history was cut. */
export function decodeCut(entry: Entry | null): Cut {
  const live = alive(entry);
  if (live === null) return { revision: null, head: FIRST_HEAD };
  const { revision, head, restored } = parseValue(CUT_KEY, live.data);
  return { revision, head, ...restored !== undefined && { restored } };
}
