/**
 * What `doctor` reports: of every check, and about stored records, in a file and in a bucket.
 *
 * @module
 */

import { counted } from "../text/counted.ts";
import type { RecordProblem } from "../errors.ts";
import { inspectRecords, type StoredRecords } from "./integrity.ts";
import { problemText } from "./problems.ts";

/** What a check of `doctor` found. */
export interface FindingOf<C extends string = string> {
  /** The check. */
  check: C;
  /** `problem` needs to be fixed; `unknown` could not be checked. */
  level: "ok" | "warning" | "problem" | "unknown";
  /** What was found, and what to do. */
  message: string;
  /** The invalid record. */
  record?: RecordProblem;
  /** Whether it was repaired. */
  repaired?: boolean;
}

/**
 * Checks all stored records.
 *
 * @returns One finding if all are valid, else a summary and one finding for each of the first hundred
 */
export async function recordFindings(
  stored: StoredRecords,
  signal?: AbortSignal,
): Promise<FindingOf<"records">[]> {
  const { valid, problems } = await inspectRecords(stored, () => signal?.throwIfAborted());
  const check = "records";
  if (problems.total === 0) {
    const message = `${counted(valid, "record is", "records are")} valid and consistent`;
    return [{ check, level: "ok", message }];
  }
  return [
    { check, level: "problem", message: problems.summary },
    ...problems.first.map((record): FindingOf<"records"> => ({
      check,
      level: "problem",
      message: problemText(record),
      record,
    })),
  ];
}
