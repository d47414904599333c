/**
 * The check of every record before it is moved: what is not valid would be unreadable on the other
 * side.
 *
 * @module
 */

import { inspectRecords, type StoredRecords } from "../core/checks/integrity.ts";
import type { Problems } from "../core/checks/problems.ts";
import type { Steps } from "./steps.ts";

/** `refused`, with a list of them, when there are invalid records. */
export async function requireValid(
  stored: StoredRecords,
  from: string,
  total: number,
  steps: Steps,
): Promise<void> {
  const onProgress = (done: number) => {
    steps.check();
    steps.tell(done, total);
  };
  refuseInvalid((await inspectRecords(stored, onProgress)).problems, from);
}

/** `refused`, with a list of them, when there are any. */
export function refuseInvalid(problems: Problems, from: string): void {
  if (problems.total > 0) throw problems.error("refused", `Moving ${from}: nothing was moved`);
}
