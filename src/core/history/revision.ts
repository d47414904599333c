/**
 * Revisions: the order of changes, also across moves of the control plane.
 *
 * @module
 */

import { invalid, show } from "../validate.ts";

/** A place in the order of changes. */
export interface Revision {
  /** How often the control plane had changed sides. */
  readonly generation: number;
  /** The number within the generation. Numbers of changes need not be consecutive. */
  readonly number: number;
}

/** Returns a revision as text, such as `0.1507`. */
export function formatRevision({ generation, number }: Revision): string {
  return `${generation}.${number}`;
}

/**
 * Parses a revision.
 *
 * @throws {StoreError} `invalid`
 */
export function parseRevision(field: string, value: unknown): Revision {
  const [, generation, number] = /^(\d{1,9})\.(\d{1,15})$/.exec(String(value)) ?? [];
  if (typeof value === "string" && number !== undefined) {
    return { generation: Number(generation), number: Number(number) };
  }
  throw invalid(field, `${field} must be a revision such as 0.1507, found ${show(value)}`);
}

/** Returns the revision of an end of the chain; `null` for the end of an empty one. */
export function revisionOfEnd({ revision }: { revision: string | null }): Revision | null {
  return revision === null ? null : parseRevision("revision", revision);
}

/** Compares two revisions: negative if `a` is the earlier one. */
export function compareRevisions(a: Revision, b: Revision): number {
  return a.generation - b.generation || a.number - b.number;
}

/** Compares two revisions given as text. */
export function compareRevisionTexts(a: string, b: string): number {
  return compareRevisions(parseRevision("revision", a), parseRevision("revision", b));
}
