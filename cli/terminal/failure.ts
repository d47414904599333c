/**
 * Maps errors to an exit code, a message and a JSON document.
 *
 * @module
 */

import { isStoreError, type RecordProblem, type StoreError } from "../../src/core/errors.ts";
import { hintOf } from "./hints.ts";
import { type Io, OutputClosed } from "./io.ts";
import { printable } from "./output.ts";
import { type Denied, deniedBy, withoutAdvice } from "./permissions.ts";

/** The exit codes, stable. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  different: 3,
  restart: 75,
  interrupted: 130,
} as const;

/** The exit codes and their meanings, for the help and the manual. */
export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.done, "done"],
  [EXIT.failed, "failed"],
  [EXIT.usage, "usage error: unknown flag, missing or invalid value"],
  [EXIT.different, "verification found differences"],
  [EXIT.restart, "the server is to be started again, after cluster restart"],
  [EXIT.interrupted, "interrupted"],
];

/** An error in the command line or settings; exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** An error as the command line reports it. */
export interface Failure {
  /** The exit code. */
  exit: number;
  /** Stable code: a `StoreError`'s, `usage` or `internal`. */
  code: string;
  /** What was attempted and what was found. */
  message: string;
  /** The invalid input. */
  field?: string;
  /** The invalid stored records, at most one hundred. */
  problems?: readonly RecordProblem[];
  /** What to do next. */
  hint?: string;
}

/**
 * Maps an error; returns `null` if the output is closed.
 *
 * @param error What was thrown
 * @param signal The interruption signal; once aborted, any error counts as an interruption
 * @param resume The hint after an interruption
 */
export function failureOf(
  error: unknown,
  signal: AbortSignal,
  resume: string | null,
): Failure | null {
  if (error instanceof OutputClosed) return null;
  if (signal.aborted) {
    return {
      exit: EXIT.interrupted,
      code: "aborted",
      message: "Interrupted",
      hint: resume ?? undefined,
    };
  }
  if (error instanceof UsageError) {
    return { exit: EXIT.usage, code: "usage", message: error.message };
  }
  const denied = deniedBy(error);
  if (isStoreError(error)) return ofStore(error, denied);
  if (denied !== null) {
    const message = `Permission denied by Deno: it ${denied.what}`;
    return { exit: EXIT.failed, code: "refused", message, hint: denied.hint };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    exit: EXIT.failed,
    code: "internal",
    message: `Unexpected error: ${message}`,
    hint: "report it with the stack trace (set UNIBUS_DEBUG=1) and membershipd version --json",
  };
}

function ofStore(error: StoreError, denied: Denied | null): Failure {
  const { code, field, problems } = error;
  const hint = denied?.hint ?? hintOf(error);
  return {
    exit: code === "invalid"
      ? EXIT.usage
      : code === "mismatch"
      ? EXIT.different
      : code === "aborted"
      ? EXIT.interrupted
      : EXIT.failed,
    code,
    message: denied === null ? error.message : withoutAdvice(error.message),
    field,
    problems,
    hint,
  };
}

/** Formats a failure as lines, with `UNIBUS_DEBUG` including the stack trace. */
export function failureText({ message, hint }: Failure, error: unknown, env: Io["env"]): string {
  const stack = error instanceof Error && isDebugging(env) ? `${error.stack}\n` : "";
  const shown = (text: string) => text.split("\n").map(printable).join("\n");
  return `error: ${shown(message)}\n${hint === undefined ? "" : `hint: ${shown(hint)}\n`}${stack}`;
}

function isDebugging(env: Io["env"]): boolean {
  try {
    return Boolean(env.UNIBUS_DEBUG);
  } catch {
    return false; // Reading the environment is not permitted.
  }
}
