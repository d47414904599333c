/**
 * Deno's permissions: reports a missing one, and checks that all are granted.
 *
 * @module
 */

import { StoreError } from "../../src/core/errors.ts";

/** A missing permission and the flag that grants it. */
export interface Denied {
  /** Such as `requires read access to "unibus.db"`. */
  what: string;
  /** What to do. */
  hint: string;
}

/** The advice in Deno's message. */
const ADVICE = /, run again with the (--allow-[a-z]+) flag/;

/** Removes Deno's advice from a message, because the hint repeats it. */
export function withoutAdvice(message: string): string {
  return message.replace(ADVICE, "");
}

/** Returns the missing permission that caused the error, or `null` if none did. */
export function deniedBy(error: unknown): Denied | null {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause.name !== "NotCapable") continue;
    const flag = ADVICE.exec(cause.message)?.[1];
    return {
      what: withoutAdvice(cause.message).replace(/^R/, "r"),
      hint: `run it with ${flag === undefined ? "-A" : `${flag}, or with -A`}; ` +
        "docs/operating.md lists the permissions that each command needs",
    };
  }
  return null;
}

const ALL = ["read", "write", "net", "env", "run", "sys", "ffi"] as const;

/** Deno's permission API; undefined in Node. */
interface Permissive {
  permissions: { querySync(of: { name: (typeof ALL)[number] }): { state: string } };
}

/**
 * Requires all of Deno's permissions for starting a nats-server: only with `-A` can `/proc` be
 * read, which shows whether another nats-server uses the directory; two would destroy each other's
 * streams.
 *
 * @param attempt The attempted operation, for the message
 * @throws {StoreError} `refused`: a permission is missing
 */
export function demandAll(attempt: string): void {
  const { Deno } = globalThis as { Deno?: Permissive };
  if (Deno === undefined) return;
  const missing = ALL.filter((name) => Deno.permissions.querySync({ name }).state !== "granted");
  if (missing.length === 0) return;
  throw new StoreError(
    "refused",
    `${attempt}: starting a nats-server requires all Deno permissions; missing or limited: ` +
      missing.join(", "),
    { hint: "run it with -A; serve --nats-url does not start a nats-server and requires fewer" },
  );
}
