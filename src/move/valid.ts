/**
 * Validates every record before a migration, because an invalid one would be unreadable in the target.
 *
 * @module
 */

import { inspectRecords, type StoredRecords } from "../core/checks/integrity.ts";
import type { Problems } from "../core/checks/problems.ts";
import type { Steps } from "./steps.ts";

/**
 * Checks that all records are valid.
 *
 * @throws {StoreError} `refused`, with a list of the invalid ones
 */
export async function requireValid(
  stored: StoredRecords,
  from: string,
  total: number,
  steps: Steps,
): Promise<void> {
  const onProgress = (done: number) => {
    steps.check();
    steps.report(done, total);
  };
  refuseInvalid((await inspectRecords(stored, onProgress)).problems, from);
}

/** Throws `refused` with a list of the problems, if there are any. */
export function refuseInvalid(problems: Problems, from: string): void {
  if (problems.total > 0) {
    throw problems.error("refused", `Migrating ${from}: nothing was migrated`);
  }
}
