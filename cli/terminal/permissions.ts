/**
 * Deno's permissions: the error for one that is missing, and whether all are there.
 *
 * @module
 */

import { StoreError } from "../../src/core/errors.ts";

/** What a missing permission of Deno forbids, and the flag that gives it. */
export interface Denied {
  /** Such as `requires read access to "unibus.db"`. */
  what: string;
  /** What to do. */
  hint: string;
}

/** What Deno's error says behind the access that it requires. */
const ADVICE = /, run again with the (--allow-[a-z]+) flag/;

/** The message of an error without Deno's advice, which the hint repeats. */
export function withoutAdvice(message: string): string {
  return message.replace(ADVICE, "");
}

/** What was denied, where a missing permission caused the error; else `null`. */
export function deniedBy(error: unknown): Denied | null {
  for (let it = error; it instanceof Error; it = it.cause) {
    if (it.name !== "NotCapable") continue;
    const flag = ADVICE.exec(it.message)?.[1];
    return {
      what: withoutAdvice(it.message).replace(/^R/, "r"),
      hint: `run it with ${flag === undefined ? "-A" : `${flag}, or with -A`}; ` +
        "docs/operating.md lists the permissions that each command needs",
    };
  }
  return null;
}

const ALL = ["read", "write", "net", "env", "run", "sys", "ffi"] as const;

/** The part of Deno that tells what is allowed; not there under Node. */
interface Permissive {
  permissions: { querySync(of: { name: (typeof ALL)[number] }): { state: string } };
}

/**
 * Refuses to start a nats-server with a part of Deno's permissions: who already uses its directory
 * stands in `/proc`, which only `-A` may read, and two would destroy each other's streams.
 *
 * @param attempt What is being attempted
 * @throws {StoreError} `refused`: a permission is missing
 */
export function demandAll(attempt: string): void {
  const { Deno } = globalThis as { Deno?: Permissive };
  if (Deno === undefined) return;
  const missing = ALL.filter((name) => Deno.permissions.querySync({ name }).state !== "granted");
  if (missing.length === 0) return;
  throw new StoreError(
    "refused",
    `${attempt}: starting a nats-server needs all permissions of Deno, and these are missing or ` +
      `limited: ${missing.join(", ")}`,
    { hint: "run it with -A; serve --nats-url starts none, and needs fewer" },
  );
}
