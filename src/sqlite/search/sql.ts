/**
 * Statements of searches.
 *
 * @module
 */

import type { SQLInputValue } from "node:sqlite";

/** A part of a statement, with the values of its parameters. */
export interface Sql {
  /** The text. */
  sql: string;
  /** The values. */
  values: SQLInputValue[];
}

/** A statement to run. */
export interface Asked extends Sql {
  /** Whether the answer is kept until the file changes. */
  keeps?: boolean;
  /** What runs instead, in a file with an index of names, where `isFew` reads 1. */
  few?: Sql & { isFew: Sql } | null;
}
