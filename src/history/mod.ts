/**
 * Verifies the history.
 *
 * @module
 */

export { parseHeads } from "./heads.ts";
export type {
  HistoryProblem,
  HistoryReport,
  KeptHead,
  VerifyHistoryOptions,
  Witness,
} from "./types.ts";
export { verifyHistory } from "./verify.ts";
