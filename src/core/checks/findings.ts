/**
 * What `doctor` says about stored records, of a file as of a bucket.
 *
 * @module
 */

import type { RecordProblem } from "../errors.ts";
import { inspectRecords, type StoredRecords } from "./integrity.ts";
import { problemText } from "./problems.ts";

/** A finding about stored records. */
export interface RecordFinding {
  /** What was checked. */
  check: "records";
  /** `problem` wants mending. */
  level: "ok" | "problem";
  /** What was found, and what to do. */
  message: string;
  /** The record at fault. */
  record?: RecordProblem;
}

/** Checks all stored records: one finding when they are valid, else a summary and one for each of the first hundred. */
export async function recordFindings(
  stored: StoredRecords,
  signal?: AbortSignal,
): Promise<RecordFinding[]> {
  const { valid, problems } = await inspectRecords(stored, () => signal?.throwIfAborted());
  const check = "records";
  if (problems.total === 0) {
    const message = `${valid} records are within their limits and fit together`;
    return [{ check, level: "ok", message }];
  }
  return [
    { check, level: "problem", message: problems.summary },
    ...problems.first.map((record): RecordFinding => ({
      check,
      level: "problem",
      message: problemText(record),
      record,
    })),
  ];
}
