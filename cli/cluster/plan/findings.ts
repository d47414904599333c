/**
 * How the results of checks are shown.
 *
 * @module
 */

import type { Context } from "../../terminal/context.ts";
import { EXIT } from "../../terminal/failure.ts";
import { print, printable, say } from "../../terminal/output.ts";
import type { PlanFinding } from "./types.ts";

/** Returns a result as a line. */
export function lineOf({ check, level, message }: PlanFinding): string {
  return `${level.padEnd(8)} ${check.padEnd(11)} ${printable(message)}`;
}

/** Ends a command because of problems; it has written nothing. */
export async function tellProblems(context: Context, findings: readonly PlanFinding[]) {
  context.exitCode = EXIT.failed;
  await print(context, ...findings.map(lineOf));
  await say(context, "nothing was written: fix the problems, then run the command again");
}
