/**
 * What is wrong with stored records: how one problem is described, and a list of many in bounded
 * memory.
 *
 * @module
 */

import { type RecordProblem, StoreError, type StoreErrorCode } from "../errors.ts";
import type { StoreRecord } from "../model.ts";
import { keyText } from "../order.ts";
import { show } from "../validate.ts";

/** A stored record that cannot be read as it is stored. */
export class Unreadable {
  /** What is wrong. */
  readonly problem: RecordProblem;
  /** What of it could be read, where that is enough for a record; not as it is stored. */
  readonly read: StoreRecord | null;

  constructor(problem: RecordProblem, read: StoreRecord | null = null) {
    this.problem = problem;
    this.read = read;
  }
}

/** How many problems are kept with their details. */
const KEPT = 100;
/** How many a message lists. */
const LISTED = 10;

/** The problem of a record whose field at fault is known. */
export function problemOf(it: StoreRecord, field: string, message: string): RecordProblem {
  const value = (it.record as unknown as Record<string, unknown>)[field];
  return {
    kind: it.kind,
    key: show(keyText(it), 400),
    field,
    value: show(value),
    message,
    repairable: false,
  };
}

/** A problem on one line. */
export function problemText(it: RecordProblem): string {
  return `${it.key}: ${it.message}`;
}

/** Problems: all of them counted, the first hundred with their details. */
export class Problems {
  /** How many there are. */
  total = 0;
  /** How many of them `doctor --repair` can correct. */
  repairable = 0;
  /** How many of each kind. */
  readonly counts: Record<string, number> = {};
  /** The first ones. */
  readonly first: RecordProblem[] = [];

  /** Takes one more. */
  add(it: RecordProblem): void {
    this.total++;
    if (it.repairable) this.repairable++;
    this.counts[it.kind] = (this.counts[it.kind] ?? 0) + 1;
    if (this.first.length < KEPT) this.first.push(it);
  }

  /** How many there are, of which kinds, and how many can be repaired. */
  get summary(): string {
    const kinds = Object.entries(this.counts).map(([kind, count]) => `${count} ${kind}`).join(", ");
    const records = this.total === 1 ? "record is" : "records are";
    return `${this.total} ${records} invalid (${kinds}), doctor --repair can correct ` +
      `${this.repairable === this.total ? "all" : this.repairable} of them`;
  }

  /** An error that lists the first ones and carries them as `problems`. */
  error(code: StoreErrorCode, attempt: string): StoreError {
    const listed = this.first.slice(0, LISTED).map(problemText).join("; ");
    const more = this.total > LISTED ? `; and ${this.total - LISTED} more` : "";
    return new StoreError(code, `${attempt}: ${this.summary}: ${listed}${more}`, {
      problems: this.first,
      ...(this.first[0] === undefined ? {} : { field: this.first[0].field }),
    });
  }
}

/** The error for one record that cannot be read as it is stored. */
export function unreadable({ problem }: Unreadable, attempt: string): StoreError {
  return new StoreError(
    "corrupt",
    `${attempt}: ${problemText(problem)}; doctor lists all such records`,
    { field: problem.field, problems: [problem] },
  );
}
