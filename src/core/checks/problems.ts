/**
 * Problems of stored records: how one is described, and a list of many in bounded memory.
 *
 * @module
 */

import { counted } from "../text/counted.ts";
import { type RecordProblem, StoreError, type StoreErrorCode } from "../errors.ts";
import type { StoreRecord } from "../model.ts";
import { keyText } from "../order.ts";
import { show } from "../validate.ts";

/** A stored record that cannot be read as it is stored. */
export class Unreadable {
  /** The problem. */
  readonly problem: RecordProblem;
  /** The record as far as it could be read, which is not what is stored; `null` if too little is left. */
  readonly read: StoreRecord | null;

  constructor(problem: RecordProblem, read: StoreRecord | null = null) {
    this.problem = problem;
    this.read = read;
  }
}

/** Number of problems kept with their details. */
const KEPT = 100;
/** Number of problems listed in a message. */
const LISTED = 10;

/** Returns the problem of a record with an invalid field. */
export function problemOf(record: StoreRecord, field: string, message: string): RecordProblem {
  const value = (record.record as unknown as Record<string, unknown>)[field];
  return {
    kind: record.kind,
    key: show(keyText(record), 400),
    field,
    value: show(value),
    message,
    repairable: false,
  };
}

/** Returns a problem as one line of text. */
export function problemText({ key, message }: RecordProblem): string {
  return `${key}: ${message}`;
}

/** Counts problems, and keeps the details of the first hundred. */
export class Problems {
  /** Number of problems. */
  total = 0;
  /** Number of problems that `doctor --repair` can fix. */
  repairable = 0;
  /** Number of problems of each kind of record. */
  readonly counts: Record<string, number> = {};
  /** The first hundred. */
  readonly first: RecordProblem[] = [];

  /** Adds a problem. */
  add(problem: RecordProblem): void {
    this.total++;
    if (problem.repairable) this.repairable++;
    this.counts[problem.kind] = (this.counts[problem.kind] ?? 0) + 1;
    if (this.first.length < KEPT) this.first.push(problem);
  }

  /** Their number, kinds, and how many can be repaired, as text. */
  get summary(): string {
    const kinds = Object.entries(this.counts).map(([kind, count]) => `${kind}: ${count}`).join(
      ", ",
    );
    return `${
      counted(this.total, "record is", "records are")
    } invalid (${kinds}), doctor --repair can fix ` +
      `${this.repairable === this.total ? "all" : this.repairable} of them`;
  }

  /** Returns an error that lists the first ten and has the first hundred as `problems`. */
  error(code: StoreErrorCode, attempt: string): StoreError {
    const listed = this.first.slice(0, LISTED).map(problemText).join("; ");
    const more = this.total > LISTED ? `; and ${this.total - LISTED} more` : "";
    return new StoreError(code, `${attempt}: ${this.summary}: ${listed}${more}`, {
      problems: this.first,
      ...(this.first[0] === undefined ? {} : { field: this.first[0].field }),
    });
  }
}

/** Returns the error for a record that cannot be read. */
export function unreadable({ problem }: Unreadable, attempt: string): StoreError {
  return new StoreError(
    "corrupt",
    `${attempt}: ${problemText(problem)}; doctor lists all such records`,
    { field: problem.field, problems: [problem] },
  );
}
