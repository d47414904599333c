/**
 * What went wrong, as an exit code, a line for people, and a JSON document.
 *
 * @module
 */

import { isStoreError, type StoreError } from "../src/errors.ts";
import { OutputClosed } from "./io.ts";

/** The exit codes, stable. */
export const EXIT = { done: 0, failed: 1, usage: 2, different: 3, interrupted: 130 } as const;

/** The command line cannot be used as it is; exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What a failure means. */
export interface Failure {
  /** The exit code. */
  exit: number;
  /** Stable code, a `StoreError`'s or `usage` or `internal`. */
  code: string;
  /** What was attempted and what was found. */
  message: string;
  /** The input at fault. */
  field?: string;
  /** What to do next. */
  hint?: string;
}

/**
 * Judges an error; `null` when there is nobody left to tell.
 *
 * @param error What was thrown
 * @param signal The signal of an interruption, in whose wake anything may fail
 * @param resume What to do after one
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
      ...(resume === null ? {} : { hint: resume }),
    };
  }
  if (error instanceof UsageError) {
    return { exit: EXIT.usage, code: "usage", message: error.message };
  }
  if (isStoreError(error)) return ofStore(error);
  const message = error instanceof Error ? error.message : String(error);
  return { exit: EXIT.failed, code: "internal", message: `Unexpected: ${message}` };
}

function ofStore(error: StoreError): Failure {
  const { code, message, field } = error;
  const hint = hintOf(error);
  return {
    exit: code === "invalid"
      ? EXIT.usage
      : code === "mismatch"
      ? EXIT.different
      : code === "aborted"
      ? EXIT.interrupted
      : EXIT.failed,
    code,
    message,
    ...(field === undefined ? {} : { field }),
    ...(hint === null ? {} : { hint }),
  };
}

function hintOf({ code, message }: StoreError): string | null {
  if (code === "refused" && /replace (overrides|what is there)/.test(message)) {
    return "look at both sides first (verify, snapshot diff); --replace goes on all the same";
  }
  if (code === "last_admin") return "--force overrides";
  if (code === "mismatch") return "run the command again; verify lists the differences by key";
  if (code === "unavailable" && message.endsWith("does not accept these credentials")) {
    return "say who you are: --service-keys (the file membershipd made), --nkey-seed-file or --creds";
  }
  if (code === "unavailable" && /TLS failed/.test(message)) {
    return "--ca names the authority that signed the server's certificate";
  }
  if (code === "unavailable" && /already in use|another program listens/.test(message)) {
    return "stop the program that listens there, or choose --http-port, --nats-port, --cluster-port";
  }
  if (code === "unavailable" && message.startsWith("Connect to")) {
    return "check --nats-url and that the server runs; --connect-timeout makes a command wait longer";
  }
  if (code === "unavailable" && message.startsWith("No nats-server")) {
    return "membershipd nats install gets one";
  }
  if (code === "not_found" && /^Opening .*no such file/.test(message)) {
    return "name the file with --db, or a server with --nats-url";
  }
  if (code === "not_found" && message.startsWith("No bucket")) {
    return "name the bucket with --bucket; migrate-to-kv makes it";
  }
  return null;
}
